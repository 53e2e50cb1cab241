/*
 * symbols.c - see symbols.h. libelf reads ELF; a System.map is lines of "address type name".
 *
 * Only code is kept: functions and untyped symbols of executable sections, types t, T, w, W.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "profiler/symbols.h"

#define SYMBOL_REACH (1ull << 20)
#define SYMBOL_NAME_MAX 200

struct symbol {
	uint64_t addr;
	char *name;
};

struct symbols {
	struct symbol *list;
	size_t count, room;
};

static int symbols_add(struct symbols *s, uint64_t addr, const char *name, size_t len)
{
	char *copy;

	if (s->count == s->room) {
		size_t room = s->room ? s->room * 2 : 4096;
		struct symbol *list = realloc(s->list, room * sizeof(*list));

		if (!list)
			return -ENOMEM;
		s->list = list;
		s->room = room;
	}
	copy = strndup(name, len < SYMBOL_NAME_MAX ? len : SYMBOL_NAME_MAX);
	if (!copy)
		return -ENOMEM;
	for (char *c = copy; *c; c++)
		if (!isgraph((unsigned char)*c))
			*c = '?';
	s->list[s->count++] = (struct symbol){ addr, copy };
	return 0;
}

/* Relocatable files and data are of no use: only defined symbols of code. */
static bool elf_wanted(Elf *elf, const GElf_Sym *sym)
{
	int type = GELF_ST_TYPE(sym->st_info);
	GElf_Shdr header;
	Elf_Scn *section;

	if (type != STT_FUNC && type != STT_NOTYPE && type != STT_GNU_IFUNC)
		return false;
	if (sym->st_shndx == SHN_UNDEF || sym->st_shndx >= SHN_LORESERVE)
		return false;
	section = elf_getscn(elf, sym->st_shndx);
	return section && gelf_getshdr(section, &header) && (header.sh_flags & SHF_EXECINSTR);
}

static int elf_section_symbols(struct symbols *s, Elf *elf, Elf_Scn *section, const GElf_Shdr *header)
{
	Elf_Data *data = elf_getdata(section, NULL);
	GElf_Sym sym;

	if (!data)
		return -EBADMSG;
	for (int i = 0; gelf_getsym(data, i, &sym); i++) {
		const char *name;
		int r;

		if (!elf_wanted(elf, &sym))
			continue;
		name = elf_strptr(elf, header->sh_link, sym.st_name);
		if (!name || !*name)
			continue;
		r = symbols_add(s, sym.st_value, name, strlen(name));
		if (r)
			return r;
	}
	return 0;
}

static int symbols_read_elf(struct symbols *s, int fd)
{
	Elf_Scn *section = NULL;
	GElf_Shdr header;
	Elf *elf;
	int r = 0;

	if (elf_version(EV_CURRENT) == EV_NONE)
		return -EBADMSG;
	elf = elf_begin(fd, ELF_C_READ, NULL);
	if (!elf)
		return -EBADMSG;
	while (!r && (section = elf_nextscn(elf, section)))
		if (gelf_getshdr(section, &header) && header.sh_type == SHT_SYMTAB)
			r = elf_section_symbols(s, elf, section, &header);
	elf_end(elf);
	return r;
}

/* "c0100000 T _stext", with a module in brackets after it in kallsyms. */
static int map_line(struct symbols *s, const char *line)
{
	char type, name[SYMBOL_NAME_MAX + 1];
	unsigned long long addr;

	if (sscanf(line, "%llx %c %200s", &addr, &type, name) != 3)
		return -EBADMSG;
	if (!strchr("tTwW", type))
		return 0;
	return symbols_add(s, addr, name, strlen(name));
}

static int symbols_read_map(struct symbols *s, int fd)
{
	FILE *f = fdopen(dup(fd), "r");
	char line[4096];
	int r = 0;

	if (!f)
		return -errno;
	while (!r && fgets(line, sizeof(line), f))
		r = map_line(s, line);
	fclose(f);
	return r;
}

static int symbol_compare(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	if (x->addr != y->addr)
		return x->addr < y->addr ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int symbols_read(struct symbols *s, int fd)
{
	char magic[4] = { 0 };
	ssize_t n = pread(fd, magic, sizeof(magic), 0);
	int r;

	if (n < 0)
		return -errno;
	r = memcmp(magic, "\177ELF", 4) ? symbols_read_map(s, fd) : symbols_read_elf(s, fd);
	if (!r && !s->count)
		r = -EBADMSG;
	if (!r)
		qsort(s->list, s->count, sizeof(*s->list), symbol_compare);
	return r;
}

int symbols_open(struct symbols **out, const char *path, struct vm_error *err)
{
	struct symbols *s;
	int r, fd;

	*out = NULL;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return vm_fail(err, -errno, "%s: %s", path, strerror(errno));
	s = calloc(1, sizeof(*s));
	r = s ? symbols_read(s, fd) : -ENOMEM;
	close(fd);
	if (r) {
		symbols_close(s);
		return vm_fail(err, r, "%s: %s", path,
		               r == -EBADMSG ? "no symbols: neither an ELF file with a symbol table nor a System.map"
		                             : strerror(-r));
	}
	*out = s;
	return 0;
}

void symbols_close(struct symbols *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++)
		free(s->list[i].name);
	free(s->list);
	free(s);
}

size_t symbols_count(const struct symbols *s)
{
	return s->count;
}

long symbols_find(const struct symbols *s, uint64_t addr, uint64_t *offset)
{
	size_t low = 0, high = s->count;

	/* the first symbol after addr */
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->list[middle].addr <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || addr - s->list[low - 1].addr > SYMBOL_REACH)
		return -1;
	/* of several names for one address, always the first: tables group by index */
	for (low--; low && s->list[low - 1].addr == s->list[low].addr; low--)
		;
	*offset = addr - s->list[low].addr;
	return (long)low;
}

const char *symbols_name(const struct symbols *s, long index)
{
	return s->list[index].name;
}
