/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The machine sleeps, as far as the kernel's own test of suspend to idle goes:
 * programs stand still, devices are suspended and resumed right away, the
 * processor stays awake.
 *
 * What a resume begins goes on when programs run again: drives are reset, and
 * then their namespaces looked at. A kernel that is told to sleep meanwhile can
 * warn of its own log, or wait for ever for a drive with zones, see
 * Documentation/kernel-bugs.rst. So whoever sleeps again waits with
 * ptz_settle().
 */
#ifndef P2PBUF_TEST_SLEEP_H
#define P2PBUF_TEST_SLEEP_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_write.h"

/* Drives have said all they have to say when nobody has said more for so long. */
#define PTZ_QUIET_MS	1000
#define PTZ_PATIENCE	60

/* NULL, or why this kernel cannot be sent to sleep. */
static inline const char *ptz_begin(void)
{
	ptk_write("/sys/module/suspend/parameters/pm_test_delay", "0");
	return ptk_write("/sys/power/pm_test", "devices") ?
	       "the kernel cannot test suspend" : NULL;
}

static inline void ptz_end(void)
{
	ptk_write("/sys/power/pm_test", "none");
}

/* 0 when the kernel's log is silent; -ETIME when it never is. */
static inline int ptz_settle(void)
{
	int quiet = PTZ_QUIET_MS * ptk_slow(), tries = PTZ_PATIENCE, ret;
	struct pollfd log = {
		.fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC),
		.events = POLLIN,
	};

	if (log.fd < 0)
		return -errno;
	do {
		lseek(log.fd, 0, SEEK_END);
		ret = poll(&log, 1, quiet);
	} while (ret > 0 && tries-- && !usleep(100000));
	if (ret)
		ret = ret < 0 ? -errno : -ETIME;
	close(log.fd);
	return ret;
}

/* Returns when the machine is awake again, or could not sleep: -EBUSY. */
static inline int ptz_sleep(void)
{
	return ptk_write("/sys/power/state", "freeze");
}

#endif /* P2PBUF_TEST_SLEEP_H */
