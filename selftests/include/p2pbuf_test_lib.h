/* SPDX-License-Identifier: GPL-2.0 */
/* For tests of the library: what a call left behind. */
#ifndef P2PBUF_TEST_LIB_H
#define P2PBUF_TEST_LIB_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <p2pbuf.h>

#include "p2pbuf_test_foreign.h"

/* Open descriptors of this process. */
static inline int ptl_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	if (!dir)
		return -errno;
	while (readdir(dir))
		n++;
	closedir(dir);
	/* Less ".", ".." and the directory itself. */
	return n - 3;
}

/* Those of them that execve() would pass on. */
static inline int ptl_count_inherited(void)
{
	int fd, n = 0, flags;

	for (fd = 0; fd < 1024; fd++) {
		flags = fcntl(fd, F_GETFD);
		n += flags >= 0 && !(flags & FD_CLOEXEC);
	}
	return n;
}

/* A reason is one sentence: some words, one line, terminated. */
static inline bool ptl_is_sentence(const struct p2pbuf_error *error)
{
	size_t len = strnlen(error->text, sizeof(error->text));

	return len > 8 && len < sizeof(error->text) &&
	       !strchr(error->text, '\n') && strchr(error->text, ' ');
}

#endif /* P2PBUF_TEST_LIB_H */
