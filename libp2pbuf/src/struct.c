// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Structs that may be longer or shorter than this library's idea of them. */

#include <string.h>

#include "internal.h"

int p2pbuf_struct_in(void *dst, size_t known, const void *src, size_t min,
		     struct p2pbuf_error *error)
{
	const unsigned char *bytes = src;
	size_t size, i;

	memset(dst, 0, known);
	if (!src)
		return 0;

	memcpy(&size, src, sizeof(size));
	if (size < min)
		return p2pbuf_fail(error, EINVAL,
				   "a struct's size field says %zu, it must be at least %zu",
				   size, min);
	for (i = known; i < size; i++)
		if (bytes[i])
			return p2pbuf_fail(error, E2BIG,
					   "a struct is newer than this library and uses what it does not know");
	memcpy(dst, src, size < known ? size : known);

	return 0;
}

int p2pbuf_struct_out(void *dst, const void *src, size_t known, size_t min)
{
	size_t size;

	memcpy(&size, dst, sizeof(size));
	if (size < min)
		return -EINVAL;
	memset(dst, 0, size);
	memcpy(dst, src, size < known ? size : known);
	memcpy(dst, &size, sizeof(size));

	return 0;
}
