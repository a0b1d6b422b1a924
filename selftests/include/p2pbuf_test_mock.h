/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The mock partners for tests: /dev/p2pbuf-mock by raw ioctls, PCI functions
 * lent to its driver, and calls that may block, made by a thread.
 *
 * Calls return 0, an fd, an id, or -errno.
 */
#ifndef P2PBUF_TEST_MOCK_H
#define P2PBUF_TEST_MOCK_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>

#include "p2pbuf_mock.h"
#include "p2pbuf_test_pci.h"
#include "p2pbuf_test_until.h"
#include "p2pbuf_test_write.h"

#define PTM_PAGE	4096ULL

/*
 * How long something that must come may take, on a slow machine that is busy;
 * and how long to look at something that must not come.
 */
#define PTM_LONG_MS	10000
#define PTM_SHORT_MS	150

/* ---- devices --------------------------------------------------------------- */

/**
 * struct ptm_lent - a PCI function lent to the driver p2pbuf_mock
 * @name: as in sysfs; empty when nothing is lent
 * @driver: whom it was taken from, or empty
 */
struct ptm_lent {
	char name[PCI_NAME_MAX];
	char driver[64];
};

/* The driver @name is bound to; empty when to none. */
static inline void ptm_driver(const char *name, char *driver, size_t size)
{
	char path[128], target[PATH_MAX], *last;
	ssize_t n;

	*driver = 0;
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/driver", name);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return;
	target[n] = 0;
	last = strrchr(target, '/');
	if (last)
		snprintf(driver, size, "%s", last + 1);
}

static inline int ptm_unbind(const char *name)
{
	char driver[64], path[160];

	ptm_driver(name, driver, sizeof(driver));
	if (!*driver)
		return 0;
	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/%s/unbind", driver);
	return ptk_write(path, name);
}

/* Bind @name to @driver and to no other; "" for whichever matches. */
static inline int ptm_bind_to(const char *name, const char *driver)
{
	char override[80], bound[64];
	int ret;

	snprintf(override, sizeof(override), "%s\n", driver);
	ret = pci_attr_write(name, "driver_override", override);
	if (!ret && *driver)
		ret = ptk_write("/sys/bus/pci/drivers_probe", name);
	if (ret || !*driver)
		return ret;
	ptm_driver(name, bound, sizeof(bound));
	return strcmp(bound, driver) ? -ENODEV : 0;
}

/* Take a function from whoever has it. To be given back. */
static inline int ptm_lend(const char *name, struct ptm_lent *lent)
{
	int ret;

	memset(lent, 0, sizeof(*lent));
	ptm_driver(name, lent->driver, sizeof(lent->driver));
	ret = ptm_unbind(name);
	if (ret)
		return ret;
	strcpy(lent->name, name);
	return ptm_bind_to(name, P2PBUF_MOCK_DRIVER);
}

static inline void ptm_give_back(struct ptm_lent *lent)
{
	if (!*lent->name)
		return;
	ptm_unbind(lent->name);
	ptm_bind_to(lent->name, lent->driver);
	*lent->name = 0;
}

/* The function that is the least missed as a BAR: the second exporter's. */
static inline int ptm_lend_bar(struct ptm_lent *lent)
{
	char name[PCI_NAME_MAX];

	memset(lent, 0, sizeof(*lent));
	if (pci_from_env("P2PBUF_EXPORTER2_PCI", name) &&
	    pci_from_env("P2PBUF_EXPORTER_PCI", name) &&
	    pci_by_id(0x1af4, 0x1110, name))
		return -ENODEV;
	return ptm_lend(name, lent);
}

/* A function without a driver of its own, to stand for an importer. */
static inline int ptm_lend_importer(struct ptm_lent *lent)
{
	char name[PCI_NAME_MAX];

	memset(lent, 0, sizeof(*lent));
	if (pci_from_env("P2PBUF_EDU_PCI", name) &&
	    pci_by_id(0x1234, 0x11e8, name))
		return -ENODEV;
	return ptm_lend(name, lent);
}

/* ---- exporter ---------------------------------------------------------------- */

static inline int ptm_ioctl(int mock, unsigned long cmd, void *arg)
{
	return ioctl(mock, cmd, arg) ? -errno : 0;
}

/* Ioctls that take a bare number. */
static inline int ptm_call(int mock, unsigned long cmd, unsigned int id)
{
	return ioctl(mock, cmd, (unsigned long)id) ? -errno : 0;
}

static inline int ptm_open(void)
{
	int fd = open(P2PBUF_MOCK_DEVICE, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static inline int ptm_create(int mock, __u64 size, __u32 placement, __u32 flags)
{
	struct p2pbuf_mock_create arg = {
		.size = size,
		.placement = placement,
		.flags = flags,
		.seed = 1,
	};
	int ret = ptm_ioctl(mock, P2PBUF_MOCK_CREATE, &arg);

	return ret ? ret : arg.fd;
}

static inline int ptm_shape(int mock, int fd, __u32 shape)
{
	struct p2pbuf_mock_set_shape arg = { .fd = fd, .shape = shape };

	return ptm_ioctl(mock, P2PBUF_MOCK_SET_SHAPE, &arg);
}

static inline int ptm_rule(int mock, int fd, __u32 op, __u32 action,
			   __u32 value, __u32 skip, __u32 times)
{
	struct p2pbuf_mock_rule arg = {
		.fd = fd,
		.op = op,
		.action = action,
		.value = value,
		.skip = skip,
		.times = times,
	};

	return ptm_ioctl(mock, P2PBUF_MOCK_RULE, &arg);
}

static inline struct p2pbuf_mock_move ptm_move_arg(int fd, __u32 placement,
						   __u32 flags)
{
	static __u32 seed = 1000;

	return (struct p2pbuf_mock_move){
		.fd = fd,
		.placement = placement,
		.flags = flags,
		.seed = ++seed,
		.wait_ms = PTM_LONG_MS,
		.unmap_ms = PTM_LONG_MS,
	};
}

/* Move: wait @wait_ms for importers' fences, and then for all unmaps. */
static inline int ptm_move_within(int mock, int fd, __u32 placement,
				  __u32 flags, __u32 wait_ms)
{
	struct p2pbuf_mock_move arg = ptm_move_arg(fd, placement, flags);
	int ret;

	arg.wait_ms = wait_ms;
	ret = ptm_ioctl(mock, P2PBUF_MOCK_MOVE, &arg);
	return ret ? ret : arg.stale ? -EBUSY : 0;
}

static inline int ptm_move(int mock, int fd, __u32 placement, __u32 flags)
{
	return ptm_move_within(mock, fd, placement, flags, PTM_LONG_MS);
}

/* @err: positive errno of mapping from now on, 0 to allow it again. */
static inline int ptm_revoke(int mock, int fd, int err)
{
	struct p2pbuf_mock_move arg = ptm_move_arg(fd, 0, 0);
	int ret;

	arg.err = err;
	ret = ptm_ioctl(mock, P2PBUF_MOCK_REVOKE, &arg);
	return ret ? ret : arg.stale ? -EBUSY : 0;
}

static inline void ptm_sleep_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

/*
 * Says locked, and little else, only when somebody keeps the resv for longer
 * than it takes to map or unmap.
 */
static inline struct p2pbuf_mock_buffer_info ptm_info(int mock, int fd)
{
	struct p2pbuf_mock_buffer_info info;
	unsigned int tries = 0;

	do {
		if (tries)
			ptm_sleep_ms(1);
		info = (struct p2pbuf_mock_buffer_info){ .fd = fd };
		if (ptm_ioctl(mock, P2PBUF_MOCK_BUFFER_INFO, &info))
			memset(&info, 0xff, sizeof(info));
	} while (info.locked == 1 && ++tries < PTM_SHORT_MS);
	return info;
}

static inline int ptm_data(int mock, int fd, bool write, __u64 offset,
			   void *data, __u64 len)
{
	struct p2pbuf_mock_data arg = {
		.fd = fd,
		.write = write,
		.offset = offset,
		.len = len,
		.data = (uintptr_t)data,
	};

	return ptm_ioctl(mock, P2PBUF_MOCK_DATA, &arg);
}

/* One word of the buffer; all ones when it cannot be read. */
static inline __u64 ptm_word(int mock, int fd, __u64 offset)
{
	__u64 value = 0;

	return ptm_data(mock, fd, false, offset, &value, 8) ? ~0ULL : value;
}

/* ---- fences and holds ----------------------------------------------------------- */

/* Returns the id. */
static inline int ptm_fence(int mock, int fd, __u32 usage, __u32 ms,
			    __u32 flags)
{
	struct p2pbuf_mock_fence arg = {
		.fd = fd,
		.usage = usage,
		.ms = ms,
		.flags = flags,
	};
	int ret = ptm_ioctl(mock, P2PBUF_MOCK_FENCE_ADD, &arg);

	return ret ? ret : (int)arg.id;
}

/* Returns the id. */
static inline int ptm_hold(int mock, int fd, __u32 mode, __u32 ms)
{
	struct p2pbuf_mock_hold arg = { .fd = fd, .mode = mode, .ms = ms };
	int ret = ptm_ioctl(mock, P2PBUF_MOCK_HOLD, &arg);

	return ret ? ret : (int)arg.id;
}

/* Wait until a hold is at @state: 0, -ETIME, or its own result when done. */
static inline int ptm_hold_wait(int mock, int id, __u32 state, __u32 ms)
{
	struct p2pbuf_mock_hold_wait arg = {
		.id = id,
		.state = state,
		.ms = ms,
	};
	int ret = ptm_ioctl(mock, P2PBUF_MOCK_HOLD_WAIT_FOR, &arg);

	if (ret)
		return ret;
	return arg.state == P2PBUF_MOCK_HOLD_DONE ? arg.result : 0;
}

/* ---- a plug's callback ---------------------------------------------------------------- */

/* Lets the callback sleep, or not. How many slept, or -errno. */
static inline int ptm_plug(int mock, bool open)
{
	struct p2pbuf_mock_plug arg = { .open = open };
	int ret = ptm_ioctl(mock, P2PBUF_MOCK_PLUG, &arg);

	return ret ?: (int)arg.sleeping;
}

/* ---- importers -------------------------------------------------------------------- */

/* @pci: name in sysfs, NULL for the platform device. Returns the id. */
static inline int ptm_import_bits(int mock, int fd, __u32 kind,
				  const char *pci, __u32 flags, __u32 bits)
{
	struct p2pbuf_mock_import arg = {
		.fd = fd,
		.kind = kind,
		.device = pci ? pci_id(pci) : 0,
		.flags = flags,
		.dma_bits = bits,
	};
	int ret = ptm_ioctl(mock, P2PBUF_MOCK_IMPORT, &arg);

	return ret ? ret : (int)arg.id;
}

static inline int ptm_import(int mock, int fd, __u32 kind, const char *pci,
			     __u32 flags)
{
	return ptm_import_bits(mock, fd, kind, pci, flags, 0);
}

static inline int ptm_put(int mock, int id, __u32 context, __u32 us)
{
	struct p2pbuf_mock_put arg = { .id = id, .context = context, .us = us };

	return ptm_ioctl(mock, P2PBUF_MOCK_PUT, &arg);
}

static inline int ptm_io(int mock, int id, __u64 offset, __u64 value, __u32 us)
{
	struct p2pbuf_mock_io arg = {
		.id = id,
		.us = us,
		.offset = offset,
		.value = value,
	};

	return ptm_ioctl(mock, P2PBUF_MOCK_IO, &arg);
}

static inline int ptm_fill_rule(int mock, int id, __u32 err, __u32 times,
				__u32 ms)
{
	struct p2pbuf_mock_fill arg = {
		.id = id,
		.err = err,
		.times = times,
		.ms = ms,
	};

	return ptm_ioctl(mock, P2PBUF_MOCK_FILL, &arg);
}

/* As patient as ptm_info(). */
static inline struct p2pbuf_mock_import_info ptm_import_info(int mock, int id)
{
	struct p2pbuf_mock_import_info info;
	unsigned int tries = 0;

	do {
		if (tries)
			ptm_sleep_ms(1);
		info = (struct p2pbuf_mock_import_info){ .id = id };
		if (ptm_ioctl(mock, P2PBUF_MOCK_IMPORT_INFO, &info))
			memset(&info, 0xff, sizeof(info));
	} while (info.locked == 1 && ++tries < PTM_SHORT_MS);
	return info;
}

/* ---- calls made by a thread ------------------------------------------------------------ */

/**
 * struct ptm_job - an ioctl that may block
 * @mock: the open file
 * @cmd: the ioctl
 * @arg: a pointer, or the bare number
 * @ret: 0 or -errno, once @done
 * @done: it returned
 * @thread: whose
 */
struct ptm_job {
	int mock;
	unsigned long cmd;
	unsigned long arg;
	int ret;
	int done;
	pthread_t thread;
};

static inline void *ptm_job_run(void *arg)
{
	struct ptm_job *job = arg;

	job->ret = ioctl(job->mock, job->cmd, job->arg) ? -errno : 0;
	__atomic_store_n(&job->done, 1, __ATOMIC_RELEASE);
	return NULL;
}

static inline void ptm_start_call(struct ptm_job *job, int mock,
				  unsigned long cmd, unsigned int id)
{
	*job = (struct ptm_job){ .mock = mock, .cmd = cmd, .arg = id };
	if (pthread_create(&job->thread, NULL, ptm_job_run, job))
		abort();
}

static inline void ptm_start(struct ptm_job *job, int mock, unsigned long cmd,
			     void *arg)
{
	*job = (struct ptm_job){
		.mock = mock, .cmd = cmd, .arg = (uintptr_t)arg,
	};
	if (pthread_create(&job->thread, NULL, ptm_job_run, job))
		abort();
}

static inline bool ptm_done(const struct ptm_job *job)
{
	return __atomic_load_n(&job->done, __ATOMIC_ACQUIRE);
}

/* Still running after a moment in which it would have ended if it could. */
static inline bool ptm_blocked(const struct ptm_job *job)
{
	ptm_sleep_ms(PTM_SHORT_MS);
	return !ptm_done(job);
}

/* What it returned, or -EINPROGRESS when it does not come to an end. */
static inline int ptm_finish(struct ptm_job *job)
{
	unsigned int ms;

	for (ms = 0; ms < 2 * PTM_LONG_MS && !ptm_done(job); ms += 5)
		ptm_sleep_ms(5);
	if (!ptm_done(job))
		return -EINPROGRESS;
	pthread_join(job->thread, NULL);
	return job->ret;
}

/* Wait until @condition; false when it does not come true. */
#define ptm_until(condition)	ptk_until(condition, PTM_LONG_MS)

/* ---- which machine is this? ----------------------------------------------------------- */

static inline bool ptm_expect(const char *path)
{
	const char *expect = getenv("P2PBUF_EXPECT_PATH");

	return expect && !strcmp(expect, path);
}

static inline bool ptm_topology(const char *name)
{
	const char *topology = getenv("P2PBUF_TOPOLOGY");

	return topology && !strcmp(topology, name);
}

#endif /* P2PBUF_TEST_MOCK_H */
