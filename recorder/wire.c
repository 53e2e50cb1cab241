/*
 * wire.c - see wire.h. Encoding: protobuf wire format, a key varint (number << 3 | type) before each field.
 */
#include "recorder/wire.h"

static bool varint(const uint8_t *message, size_t len, size_t *at, uint64_t *out)
{
	uint64_t value = 0;
	unsigned shift;

	for (shift = 0; shift < 64 && *at < len; shift += 7) {
		uint8_t byte = message[(*at)++];

		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*out = value;
			return true;
		}
	}
	return false;
}

static bool step(const uint8_t *message, size_t len, size_t *at, struct wire_field *field)
{
	uint64_t key, value = 0;

	if (!varint(message, len, at, &key) || key >> 3 > UINT32_MAX)
		return false;
	field->number = (uint32_t)(key >> 3);
	field->type = key & 7;
	field->data = *at;
	switch (field->type) {
	case 0: return varint(message, len, at, &value);
	case 1: value = 8; break;
	case 2:
		if (!varint(message, len, at, &value))
			return false;
		field->data = *at;
		break;
	case 5: value = 4; break;
	default: return false;
	}
	if (value > len - *at)
		return false;
	*at += value;
	return true;
}

bool wire_next(const uint8_t *message, size_t len, size_t *at, struct wire_field *field)
{
	size_t start = *at;

	if (start >= len)
		return false;
	if (step(message, len, at, field))
		return true;
	*at = start;
	return false;
}

bool wire_has_shape(const uint8_t *message, size_t len, const uint8_t *shape, unsigned count)
{
	unsigned repeats = 0;
	uint32_t previous = 0;
	struct wire_field field;
	size_t at = 0;

	while (wire_next(message, len, &at, &field)) {
		uint8_t want;

		if (!field.number || field.number > count || field.number < previous)
			return false;
		want = shape[field.number - 1];
		if (!want || (want == WIRE_SCALAR) != (field.type != 2))
			return false;
		repeats = field.number == previous ? repeats + 1 : 0;
		if (repeats && (want != WIRE_REPEATED || repeats >= WIRE_REPEAT_MAX))
			return false;
		previous = field.number;
	}
	return at == len;
}
