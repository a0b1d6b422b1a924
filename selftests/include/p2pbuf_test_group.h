/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A cgroup of a test's own, below the root, in one of the controllers.
 *
 * Calls return 0 or -errno.
 */
#ifndef P2PBUF_TEST_GROUP_H
#define P2PBUF_TEST_GROUP_H

#include <stdio.h>
#include <sys/stat.h>

#include "p2pbuf_test_write.h"

#define PTG_ROOT	"/sys/fs/cgroup"
#define PTG_GROUP	PTG_ROOT "/p2pbuf_test"

/* Make it; fails on a kernel without the controller. */
static inline int ptg_make(const char *controller)
{
	char text[32];
	int ret;

	snprintf(text, sizeof(text), "+%s", controller);
	ret = ptk_write(PTG_ROOT "/cgroup.subtree_control", text);
	if (!ret && mkdir(PTG_GROUP, 0700) && errno != EEXIST)
		ret = -errno;
	return ret;
}

/* It has no process in it any more. */
static inline int ptg_remove(void)
{
	return rmdir(PTG_GROUP) ? -errno : 0;
}

/* The caller goes in, and out. */
static inline int ptg_enter(void)
{
	return ptk_write(PTG_GROUP "/cgroup.procs", "0");
}

static inline int ptg_leave(void)
{
	return ptk_write(PTG_ROOT "/cgroup.procs", "0");
}

#endif /* P2PBUF_TEST_GROUP_H */
