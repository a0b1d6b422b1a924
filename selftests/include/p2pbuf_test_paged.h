/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A paged region and a ring, for tests of fixed buffers and of I/O by address.
 *
 * The region is bound anew as a paged one and given back as it was.
 */
#ifndef P2PBUF_TEST_PAGED_H
#define P2PBUF_TEST_PAGED_H

#include "kselftest_harness.h"
#include "p2pbuf_test_nvme.h"
#include "p2pbuf_test_region.h"
#include "p2pbuf_test_rig.h"

#define PTP_SLOTS	8
#define PTP_VRAM	(32ULL << 20)
#define PTP_BOTH	(P2PBUF_REGISTER_READ | P2PBUF_REGISTER_WRITE)

/**
 * struct ptp_rig - a paged region, and a ring with empty slots
 * @region: the region
 * @info: what it says about itself
 * @fd: an open file on it
 * @ring: the ring, with PTP_SLOTS slots
 * @up: the region is bound as a paged one
 */
struct ptp_rig {
	struct ptr_region region;
	struct drm_p2pbuf_device_info info;
	int fd;
	struct io_uring ring;
	bool up;
};

static inline int ptp_ring(struct io_uring *ring, unsigned int flags)
{
	int ret = io_uring_queue_init(128, ring, flags);

	return ret ? ret : io_uring_register_buffers_sparse(ring, PTP_SLOTS);
}

/* What a region needs no more of than the tests do binds and fills sooner. */
static inline int ptp_shrink(const struct ptr_region *region)
{
	struct drm_p2pbuf_device_info info;
	char reserved[32];
	int fd = ptr_open(region), ret;

	if (fd < 0)
		return fd;
	ret = ptx_device_info(fd, &info);
	close(fd);
	if (ret || info.vram_size <= PTP_VRAM)
		return ret;
	snprintf(reserved, sizeof(reserved), "%llu",
		 info.vram_size - PTP_VRAM);
	return ptr_param("reserved", reserved);
}

/* -ENODEV when there is no exporter. */
static inline int ptp_open(struct ptp_rig *rig)
{
	int ret;

	memset(rig, 0, sizeof(*rig));
	rig->fd = -1;
	ret = ptr_find(0, &rig->region);
	if (ret)
		return ret;
	ret = ptr_param("paged", "1");
	if (!ret)
		ret = ptp_shrink(&rig->region);
	if (!ret)
		ret = ptr_rebind(&rig->region);
	if (ret)
		return ret;
	rig->up = true;
	rig->fd = ptr_open(&rig->region);
	if (rig->fd < 0)
		return rig->fd;
	ret = ptx_device_info(rig->fd, &rig->info);
	return ret ? ret : ptp_ring(&rig->ring, 0);
}

static inline void ptp_close(struct ptp_rig *rig)
{
	/*
	 * Slots first: the end of a ring needs this task to come back from the
	 * kernel, and unbinding waits for the slots in there.
	 */
	if (rig->ring.ring_fd > 0) {
		io_uring_unregister_buffers(&rig->ring);
		io_uring_queue_exit(&rig->ring);
	}
	if (rig->fd >= 0)
		close(rig->fd);
	ptr_param("paged", "0");
	ptr_param("reserved", "0");
	if (rig->up)
		ptr_rebind(&rig->region);
}

/* Can the drive reach VRAM here? */
static inline bool ptp_is_near(void)
{
	return !ptn_expect("refused");
}

/* Submit what is prepared and wait for the one completion. */
static inline int ptp_one(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int ret;

	ret = io_uring_submit_and_wait(ring, 1);
	if (ret < 0)
		return ret;
	ret = io_uring_wait_cqe(ring, &cqe);
	if (ret)
		return ret;
	ret = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return ret;
}

static inline struct io_uring_sqe *
ptp_prep_command(struct io_uring *ring, int fd, __u32 op, __u64 offset,
		 __u32 length, const struct drm_p2pbuf_uring_cmd *cmd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd,
			 (void *)(uintptr_t)offset, length, 0);
	sqe->cmd_op = op;
	memcpy(sqe->cmd, cmd, sizeof(*cmd));
	return sqe;
}

static inline int ptp_register_range(struct io_uring *ring, int fd,
				     __u32 handle, __u32 index, __u64 offset,
				     __u32 length, __u32 placement,
				     __u32 flags)
{
	const struct drm_p2pbuf_uring_cmd cmd = {
		.handle = handle,
		.index = index,
		.placement = placement,
		.flags = flags,
	};

	ptp_prep_command(ring, fd, P2PBUF_URING_REGISTER, offset, length, &cmd);
	return ptp_one(ring);
}

static inline int ptp_register(struct io_uring *ring, int fd, __u32 handle,
			       __u32 index, __u32 placement)
{
	return ptp_register_range(ring, fd, handle, index, 0, 0, placement,
				  PTP_BOTH);
}

static inline int ptp_unregister(struct io_uring *ring, int fd, __u32 index)
{
	const struct drm_p2pbuf_uring_cmd cmd = { .index = index };

	ptp_prep_command(ring, fd, P2PBUF_URING_UNREGISTER, 0, 0, &cmd);
	return ptp_one(ring);
}

static inline void ptp_prep_fixed(struct io_uring *ring, int file, bool write,
				  __u32 index, __u64 at, __u32 length,
				  __u64 offset, __u32 priority)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	void *addr = (void *)(uintptr_t)at;

	if (write)
		io_uring_prep_write_fixed(sqe, file, addr, length, offset,
					  index);
	else
		io_uring_prep_read_fixed(sqe, file, addr, length, offset,
					 index);
	sqe->ioprio = priority;
}

/* One READ_FIXED or WRITE_FIXED as they should be. */
static inline int ptp_fixed(struct ptp_rig *rig, int file, bool write,
			    __u32 index, __u64 at, __u32 length, __u64 offset)
{
	ptp_prep_fixed(&rig->ring, file, write, index, at, length, offset,
		       rig->info.io_priority);
	return ptp_one(&rig->ring);
}

static inline __u64 ptp_pins(int fd, __u32 handle)
{
	struct drm_p2pbuf_gem_info info;

	return ptx_info(fd, handle, &info) ? ~0ULL : info.pins;
}

/* Wait for what a worker of io_uring does in its own time; false: never. */
static inline bool ptp_wait_pins(int fd, __u32 handle, __u64 pins)
{
	int i;

	for (i = 0; i < 6000 && ptp_pins(fd, handle) != pins; i++)
		usleep(10000);
	return i < 6000;
}

/* A counter of the region in debugfs, or -1. */
static inline long ptp_counter(const struct ptr_region *region,
			       const char *name)
{
	char path[96], line[96];
	long value, found = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/debug/dri/%s/counters",
		 region->name);
	f = fopen(path, "r");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		char key[64];

		if (sscanf(line, "%63s %ld", key, &value) == 2 &&
		    !strcmp(key, name))
			found = value;
	}
	fclose(f);
	return found;
}

#endif /* P2PBUF_TEST_PAGED_H */
