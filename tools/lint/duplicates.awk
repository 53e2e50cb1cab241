# duplicates.awk - the same long run of tokens in two places: one piece of code should serve both.
#
# Comments, blank space, preprocessor lines and the contents of string literals do not count. A run of WINDOW tokens that occurs twice is
# reported once, extended as far as it goes. Tables (runs without a semicolon) are data, not code.
BEGIN { WINDOW = 80; BASE = 65599; MODULUS = 2147483647; ids = 0; total = 0 }

function token(text,   id) {
	if (!(text in dictionary))
		dictionary[text] = ++ids
	total++
	tok[total] = dictionary[text]
	semi[total] = semi[total - 1] + (text == ";")
	where_file[total] = FILENAME
	where_line[total] = FNR
}

# A run never goes over the end of a file.
FNR == 1 { total++; tok[total] = 1000000 + ++files; semi[total] = semi[total - 1]; comment = 0 }

{
	line = $0
	if (comment) {
		if (!match(line, /\*\//))
			next
		line = substr(line, RSTART + 2)
		comment = 0
	}
	gsub(/"([^"\\]|\\.)*"/, "\"\"", line)
	while (match(line, /\/\*/)) {
		start = RSTART
		tail = substr(line, start + 2)
		if (match(tail, /\*\//))
			line = substr(line, 1, start - 1) " " substr(tail, RSTART + 2)
		else {
			line = substr(line, 1, start - 1)
			comment = 1
		}
	}
	sub(/\/\/.*/, "", line)
	if (line ~ /^[ \t]*#/)
		next
	while (match(line, /[A-Za-z_0-9]+|"[^"]*"|[^ \t]/)) {
		token(substr(line, RSTART, RLENGTH))
		line = substr(line, RSTART + RLENGTH)
	}
}

END {
	power = 1
	for (i = 1; i < WINDOW; i++)
		power = (power * BASE) % MODULUS
	hash = 0
	for (i = 1; i <= total; i++) {
		if (i > WINDOW)
			hash = (hash + MODULUS - (tok[i - WINDOW] * power) % MODULUS) % MODULUS
		hash = (hash * BASE + tok[i]) % MODULUS
		if (i < WINDOW)
			continue
		first = i - WINDOW + 1
		if (!(hash in seen)) {
			seen[hash] = first
			continue
		}
		if (first < skip_to)
			continue
		other = seen[hash]
		if (other + WINDOW > first || semi[i] - semi[first] < 4)
			continue
		length_ = 0
		while (first + length_ <= total && other + length_ < first && tok[other + length_] == tok[first + length_])
			length_++
		if (length_ < WINDOW)
			continue
		printf "%s:%d: %d tokens as in %s:%d\n", where_file[first], where_line[first], length_, where_file[other], where_line[other]
		skip_to = first + length_
		bad = 1
	}
	exit bad
}
