/* SPDX-License-Identifier: GPL-2.0 */
/* Files that take a line: sysfs, debugfs, procfs. */
#ifndef P2PBUF_TEST_WRITE_H
#define P2PBUF_TEST_WRITE_H

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* @text in one piece; 0, or what the kernel has against it. */
static inline int ptk_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

#endif /* P2PBUF_TEST_WRITE_H */
