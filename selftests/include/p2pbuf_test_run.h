/* SPDX-License-Identifier: GPL-2.0 */
/* Commands of the shell: ip, modprobe, mount and the like. */
#ifndef P2PBUF_TEST_RUN_H
#define P2PBUF_TEST_RUN_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* 0 if it succeeded, -EIO if not, -errno if it was not run. */
__attribute__((format(printf, 1, 2)))
static inline int ptk_run(const char *fmt, ...)
{
	char command[2048];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(command))
		return -E2BIG;
	n = system(command);
	return n == -1 ? -errno : n ? -EIO : 0;
}

#endif /* P2PBUF_TEST_RUN_H */
