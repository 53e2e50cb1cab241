/*
 * wire.h - the outermost layer of a protobuf message: where its fields begin and end.
 *
 * protobuf-c keeps unknown fields and merges repeated ones, which lets a hostile message cost far more memory than
 * its length. Readers therefore look at the shape of a message before unpacking it; the envelope uses the same walk
 * to cut compression blocks.
 */
#ifndef RINGSIDE_RECORDER_WIRE_H
#define RINGSIDE_RECORDER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire_field {
	uint32_t number;
	uint8_t type; /* 0 varint, 1 fixed64, 2 length-delimited, 5 fixed32 */
	size_t data;  /* offset of the field's contents */
};

/* Steps over the field at *at. False at the end of the message, *at == len, or where it is malformed, *at < len. */
bool wire_next(const uint8_t *message, size_t len, size_t *at, struct wire_field *field);

/* One entry a field number, 1 based: what may come. Entries that are zero may not. */
#define WIRE_SCALAR 1   /* varint or fixed, at most once */
#define WIRE_BYTES 2    /* bytes, message or packed column, at most once */
#define WIRE_REPEATED 3 /* bytes or message, up to WIRE_REPEAT_MAX times */
#define WIRE_REPEAT_MAX 64

/* The message has only the fields of `shape` (numbers 1..count), in ascending order. */
bool wire_has_shape(const uint8_t *message, size_t len, const uint8_t *shape, unsigned count);

#endif
