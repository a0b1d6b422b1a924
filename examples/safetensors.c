// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A parser of as much JSON as such headers are made of.
 *
 * It walks over the text once. Every read of a byte goes through peek(), which
 * gives 0 at the end, so no function looks beyond it. A parse error is sticky:
 * the first is kept, and from then on peek() says that the text has ended, so
 * that every loop ends, too.
 */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "safetensors.h"

#define DEPTH	16

struct parser {
	const char *at;
	const char *end;
	const char *error;
};

static void fail(struct parser *p, const char *why)
{
	if (!p->error)
		p->error = why;
	p->at = p->end;
}

static char peek(struct parser *p)
{
	while (p->at < p->end && strchr(" \t\n\r", *p->at) && *p->at)
		p->at++;
	return p->at < p->end ? *p->at : 0;
}

static bool accept(struct parser *p, char c)
{
	if (peek(p) != c)
		return false;
	p->at++;
	return true;
}

static void expect(struct parser *p, char c, const char *why)
{
	if (!accept(p, c))
		fail(p, why);
}

static void put(struct parser *p, char *text, size_t size, size_t *n, char c)
{
	if (!text)
		return;
	if (*n + 1 < size)
		text[(*n)++] = c;
	else
		fail(p, "a name is too long");
}

static unsigned int hex4(struct parser *p)
{
	unsigned int value = 0, i;

	for (i = 0; i < 4; i++) {
		static const char digits[] = "0123456789abcdefABCDEF";
		const char *d = p->at < p->end && *p->at ?
			strchr(digits, *p->at) : NULL;

		if (!d) {
			fail(p, "a \\u escape without four hex digits");
			return 0;
		}
		value = value << 4 | (d - digits > 15 ? d - digits - 6 : d - digits);
		p->at++;
	}

	return value;
}

static void put_utf8(struct parser *p, char *text, size_t size, size_t *n)
{
	unsigned int c = hex4(p);

	/* Halves of what does not fit in 16 bits; no name needs them. */
	if (c >= 0xd800 && c < 0xe000) {
		fail(p, "a name with a surrogate escape");
	} else if (!c) {
		fail(p, "a name with a zero byte");
	} else if (c < 0x80) {
		put(p, text, size, n, c);
	} else if (c < 0x800) {
		put(p, text, size, n, 0xc0 | c >> 6);
		put(p, text, size, n, 0x80 | (c & 0x3f));
	} else {
		put(p, text, size, n, 0xe0 | c >> 12);
		put(p, text, size, n, 0x80 | (c >> 6 & 0x3f));
		put(p, text, size, n, 0x80 | (c & 0x3f));
	}
}

/* A string into @text, or over it if that is NULL. */
static void string(struct parser *p, char *text, size_t size)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *escape;
	size_t n = 0;

	expect(p, '"', "a string was expected");
	while (p->at < p->end && *p->at != '"') {
		unsigned char c = *p->at++;

		if (c < 0x20) {
			fail(p, "a control character in a string");
		} else if (c != '\\') {
			put(p, text, size, &n, c);
		} else if (p->at < p->end && *p->at == 'u') {
			p->at++;
			put_utf8(p, text, size, &n);
		} else {
			escape = p->at < p->end && *p->at ?
				strchr(from, *p->at) : NULL;
			if (!escape) {
				fail(p, "an unknown escape in a string");
				break;
			}
			p->at++;
			put(p, text, size, &n, to[escape - from]);
		}
	}
	if (text)
		text[n] = '\0';
	if (p->at < p->end)
		p->at++;
	else
		fail(p, "a string that does not end");
}

static uint64_t number(struct parser *p)
{
	uint64_t value = 0;
	bool any = false;

	peek(p);
	while (p->at < p->end && *p->at >= '0' && *p->at <= '9') {
		unsigned int digit = *p->at++ - '0';

		if (value > (INT64_MAX - 9ull) / 10) {
			fail(p, "a number is too large");
			return 0;
		}
		value = value * 10 + digit;
		any = true;
	}
	if (!any || (p->at < p->end && strchr(".eE", *p->at) && *p->at))
		fail(p, "a whole number was expected");

	return value;
}

/* Whatever value there is. */
static void skip(struct parser *p, unsigned int depth)
{
	char open = peek(p), close = open == '{' ? '}' : ']';

	if (depth > DEPTH) {
		fail(p, "values within values, too deep");
	} else if (open == '"') {
		string(p, NULL, 0);
	} else if (open == '{' || open == '[') {
		p->at++;
		if (accept(p, close))
			return;
		do {
			if (open == '{') {
				string(p, NULL, 0);
				expect(p, ':', "a ':' was expected");
			}
			skip(p, depth + 1);
		} while (accept(p, ','));
		expect(p, close, "an object or array that does not end");
	} else if (open && strchr("-0123456789tfn", open)) {
		while (p->at < p->end &&
		       strchr("+-.0123456789abcdefghijklmnopqrstuvwxyzE", *p->at) &&
		       *p->at)
			p->at++;
	} else {
		fail(p, "a value was expected");
	}
}

static unsigned int dtype_bits(const char *dtype)
{
	static const struct {
		const char *name;
		unsigned int bits;
	} types[] = {
		{ "F64", 64 }, { "I64", 64 }, { "U64", 64 }, { "C64", 64 },
		{ "F32", 32 }, { "I32", 32 }, { "U32", 32 },
		{ "F16", 16 }, { "BF16", 16 }, { "I16", 16 }, { "U16", 16 },
		{ "I8", 8 }, { "U8", 8 }, { "BOOL", 8 },
		{ "F8_E4M3", 8 }, { "F8_E5M2", 8 }, { "F8_E8M0", 8 },
		{ "F4", 4 },
	};
	size_t i;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcmp(types[i].name, dtype))
			return types[i].bits;
	return 0;
}

/* Elements of the shape. */
static uint64_t shape(struct parser *p)
{
	uint64_t n = 1, dim;

	expect(p, '[', "a shape that is no array");
	if (accept(p, ']'))
		return n;
	do {
		dim = number(p);
		if (__builtin_mul_overflow(n, dim, &n))
			fail(p, "a shape is too large");
	} while (accept(p, ','));
	expect(p, ']', "a shape that does not end");

	return n;
}

static void offsets(struct parser *p, struct tensor *tensor)
{
	expect(p, '[', "data_offsets that are no array");
	tensor->begin = number(p);
	expect(p, ',', "data_offsets are two numbers");
	tensor->end = number(p);
	expect(p, ']', "data_offsets are two numbers");
}

/* One tensor's object; offsets count from the first byte behind the header. */
static void tensor(struct parser *p, struct tensor *tensor, uint64_t room)
{
	bool has_dtype = false, has_shape = false, has_offsets = false;
	uint64_t elements = 0, bits;
	char key[16];

	expect(p, '{', "a tensor that is no object");
	do {
		string(p, key, sizeof(key));
		expect(p, ':', "a ':' was expected");
		if (!strcmp(key, "dtype") && !has_dtype) {
			string(p, tensor->dtype, sizeof(tensor->dtype));
			has_dtype = true;
		} else if (!strcmp(key, "shape") && !has_shape) {
			elements = shape(p);
			has_shape = true;
		} else if (!strcmp(key, "data_offsets") && !has_offsets) {
			offsets(p, tensor);
			has_offsets = true;
		} else {
			fail(p, "a tensor has a key that is unknown or twice there");
		}
	} while (accept(p, ','));
	expect(p, '}', "a tensor that does not end");
	if (p->error)
		return;

	if (!has_dtype || !has_shape || !has_offsets)
		fail(p, "a tensor without dtype, shape or data_offsets");
	else if (!dtype_bits(tensor->dtype))
		fail(p, "a tensor of an unknown dtype");
	else if (tensor->begin > tensor->end || tensor->end > room)
		fail(p, "a tensor lies outside the file");
	else if (__builtin_mul_overflow(elements, dtype_bits(tensor->dtype),
					&bits) ||
		 bits % 8 || bits / 8 != tensor->end - tensor->begin)
		fail(p, "a tensor's shape and data_offsets contradict each other");
}

static struct tensor *tensors_add(struct tensors *tensors)
{
	size_t room = tensors->room ? tensors->room * 2 : 64;
	struct tensor *list;

	if (tensors->n == tensors->room) {
		list = realloc(tensors->list, room * sizeof(*list));
		if (!list)
			return NULL;
		tensors->list = list;
		tensors->room = room;
	}
	memset(&tensors->list[tensors->n], 0, sizeof(*list));

	return &tensors->list[tensors->n];
}

static void members(struct parser *p, struct tensors *tensors, uint64_t room)
{
	struct tensor *one;

	if (accept(p, '}'))
		return;
	do {
		one = tensors_add(tensors);
		if (!one) {
			fail(p, "out of memory");
			return;
		}
		string(p, one->name, sizeof(one->name));
		expect(p, ':', "a ':' was expected");
		if (!strcmp(one->name, "__metadata__")) {
			skip(p, 0);
			continue;
		}
		tensor(p, one, room);
		tensors->n++;
	} while (accept(p, ','));
	expect(p, '}', "the header does not end");
}

static void header(struct parser *p, struct tensors *tensors, uint64_t room)
{
	expect(p, '{', "the header is no JSON object");
	members(p, tensors, room);
	if (peek(p))
		fail(p, "there is more than one value in the header");
}

static int by_begin(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	return x->end < y->end ? -1 : x->end > y->end;
}

const char *tensors_parse(const char *json, size_t len, uint64_t file_size,
			  struct tensors *tensors)
{
	struct parser p = { .at = json, .end = json + len };
	const uint64_t start = 8 + (uint64_t)len;
	size_t i;

	memset(tensors, 0, sizeof(*tensors));
	if (start > file_size)
		return "the header is longer than the file";
	header(&p, tensors, file_size - start);
	if (!p.error && tensors->n)
		qsort(tensors->list, tensors->n, sizeof(*tensors->list),
		      by_begin);
	for (i = 0; !p.error && i < tensors->n; i++) {
		if (i && tensors->list[i].begin + start < tensors->list[i - 1].end)
			p.error = "two tensors share bytes";
		tensors->list[i].begin += start;
		tensors->list[i].end += start;
	}
	if (p.error)
		tensors_free(tensors);

	return p.error;
}

void tensors_free(struct tensors *tensors)
{
	free(tensors->list);
	memset(tensors, 0, sizeof(*tensors));
}
