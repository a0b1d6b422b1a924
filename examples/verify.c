// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* How gpu-app knows what is on the disk and in VRAM: it looks, byte by byte. */

#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <sha2.h>

#include "demo.h"

#define CHUNK	((size_t)1 << 20)

void sha256_hex(const void *bytes, size_t len, char hex[SHA256_HEX])
{
	SHA2_CTX ctx;

	SHA256Init(&ctx);
	SHA256Update(&ctx, bytes, len);
	SHA256End(&ctx, hex);
}

int disk_read(int fd, void *bytes, size_t len, uint64_t offset)
{
	size_t done, want;
	ssize_t n;

	for (done = 0; done < len; done += n) {
		want = len - done < CHUNK ? len - done : CHUNK;
		n = pread(fd, (char *)bytes + done, want, offset + done);
		if (n <= 0)
			return n ? -errno : -ENODATA;
	}
	return 0;
}

int disk_write(int fd, const void *bytes, size_t len, uint64_t offset)
{
	size_t done, want;
	ssize_t n;

	for (done = 0; done < len; done += n) {
		want = len - done < CHUNK ? len - done : CHUNK;
		n = pwrite(fd, (const char *)bytes + done, want, offset + done);
		if (n <= 0)
			return n ? -errno : -ENOSPC;
	}
	return 0;
}

size_t first_difference(const void *a, const void *b, size_t len)
{
	const unsigned char *x = a, *y = b;
	size_t i, n;

	for (i = 0; i < len; i += n) {
		n = len - i < CHUNK ? len - i : CHUNK;
		if (!memcmp(x + i, y + i, n))
			continue;
		while (x[i] == y[i])
			i++;
		return i;
	}
	return len;
}
