// SPDX-License-Identifier: GPL-2.0
/*
 * Fixed buffers: registered by commands on the second exporter, which is bound
 * as a paged region, and used by I/O on the disks.
 *
 * io_uring cannot be told to let go of a buffer, and who unbinds the device
 * waits for the slots. So nobody fills one while an unbind is under way.
 */
#include <stddef.h>

#include "fuzz.h"

/* The table of drm/p2pbuf_drm.h, of commands. */
static const int fixed_errnos[] = {
	EINVAL, EMEDIUMTYPE, EPROTOTYPE, ENOENT, EDOM, ERANGE, EFBIG, EBADSLT,
	EEXIST, EBUSY, EXDEV, ENOSPC, EDQUOT, EOPNOTSUPP, ENOMEM, EINTR, ENODEV,
	/*
	 * io_uring's own, of chains and of the descriptor -1, which a worker has
	 * while the device is unbound
	 */
	ECANCELED, EBADF, 0
};

const int *fz_fixed_errnos = fixed_errnos;

/* An object of the paged region, if there is one. */
static const struct fz_bo *paged_bo(struct fz_worker *w)
{
	unsigned int at = fz_below(&w->rng, FZ_BOS), i;

	for (i = 0; i < FZ_BOS; i++) {
		const struct fz_bo *bo = &w->bo[(at + i) % FZ_BOS];

		if (bo->drm == 1 && bo->handle)
			return bo;
	}
	return &w->bo[at];
}

/* REGISTER or UNREGISTER; the result is judged. */
void fz_fixed_command(struct fz_worker *w, struct io_uring_sqe *sqe)
{
	static const struct fz_field fields[] = {
		FZ_FIELD(struct drm_p2pbuf_uring_cmd, handle),
		FZ_FIELD(struct drm_p2pbuf_uring_cmd, index),
		FZ_FIELD(struct drm_p2pbuf_uring_cmd, placement),
		FZ_FIELD(struct drm_p2pbuf_uring_cmd, flags),
	};
	const struct fz_bo *bo = paged_bo(w);
	struct drm_p2pbuf_uring_cmd cmd = {
		.handle = bo->handle,
		.index = fz_below(&w->rng, FZ_SLOTS + 1),
		.placement = 1U << fz_below(&w->rng, 2),
		.flags = 1 + fz_below(&w->rng, 3),
	};
	__u32 op = fz_once_in(&w->rng, 2) ? P2PBUF_URING_REGISTER :
					    P2PBUF_URING_UNREGISTER;
	int drm = fz_once_in(&w->rng, 16) ? fz_below(&w->rng, FZ_DRMS) : 1;
	__u64 addr = 0;
	__u32 len = 0;

	if (fz_once_in(&w->rng, 2)) {
		addr = fz_below(&w->rng, 16) * PTN_PAGE;
		len = fz_below(&w->rng, 16) * PTN_PAGE;
	}
	if (fz_once_in(&w->rng, 16))
		addr = fz_edge(&w->rng);
	if (fz_once_in(&w->rng, 16))
		len = (__u32)fz_edge(&w->rng);
	fz_mutate(&w->rng, &cmd, fields, FZ_ARRAY(fields));
	if (fz_once_in(&w->rng, 64))
		op = (__u32)fz_next(&w->rng);
	if (op == P2PBUF_URING_UNREGISTER && !fz_once_in(&w->rng, 16)) {
		cmd = (struct drm_p2pbuf_uring_cmd){ .index = cmd.index };
		addr = 0;
		len = 0;
	}
	if (op == P2PBUF_URING_REGISTER && fz->no_slots)
		op = 0;
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, w->drm[drm],
			 (void *)(uintptr_t)addr, len, 0);
	sqe->cmd_op = op;
	memcpy(sqe->cmd, &cmd, sizeof(cmd));
}

/* The same with one thing that is forbidden, whatever the region is. */
void fz_fixed_wrong(struct fz_worker *w, struct io_uring_sqe *sqe)
{
	struct drm_p2pbuf_uring_cmd cmd = {
		.handle = paged_bo(w)->handle,
		.index = fz_below(&w->rng, FZ_SLOTS),
		.placement = 1U << fz_below(&w->rng, 2),
		.flags = 1 + fz_below(&w->rng, 3),
	};
	__u32 op = P2PBUF_URING_REGISTER;
	__u64 addr = 0;
	__u32 len = 0;

	switch (fz_below(&w->rng, 8)) {
	case 0:
		cmd.handle = fz_unknown_bit(&w->rng, 0xffff);
		break;
	case 1:
		cmd.index = FZ_SLOTS + fz_below(&w->rng, 1 << 30);
		break;
	case 2:
		cmd.placement = fz_wrong_placement(&w->rng);
		break;
	case 3:
		cmd.flags = fz_once_in(&w->rng, 4) ? 0 :
			    fz_unknown_bit(&w->rng, 3);
		break;
	case 4:
		addr = fz_misaligned(&w->rng, 8);
		break;
	case 5:
		len = fz_misaligned(&w->rng, 8);
		break;
	case 6:
		op = fz_unknown_bit(&w->rng, 3);
		break;
	default:	/* REGISTER's arguments */
		op = P2PBUF_URING_UNREGISTER;
	}
	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, w->drm[1],
			 (void *)(uintptr_t)addr, len, 0);
	sqe->cmd_op = op;
	memcpy(sqe->cmd, &cmd, sizeof(cmd));
}

/* I/O between a disk and a slot, whoever filled it. */
void fz_fixed_io(struct fz_worker *w, struct io_uring_sqe *sqe)
{
	int disk = w->disk[fz_below(&w->rng, w->disks)];
	__u32 slot = fz_below(&w->rng, FZ_SLOTS);
	__u64 at = fz_below(&w->rng, 16) * 512;
	__u64 offset = fz_below(&w->rng, 8192) * 512;
	__u32 len = (1 + fz_below(&w->rng, 16)) * 512;
	void *addr;

	if (fz_once_in(&w->rng, 16))
		at = fz_edge(&w->rng);
	if (fz_once_in(&w->rng, 16))
		len = (__u32)fz_edge(&w->rng) & 0xfffff;
	addr = (void *)(uintptr_t)at;
	if (fz_once_in(&w->rng, 2))
		io_uring_prep_read_fixed(sqe, disk, addr, len, offset, slot);
	else
		io_uring_prep_write_fixed(sqe, disk, addr, len, offset, slot);
}

/* An unbind waits for the slots of this ring. */
void fz_fixed_empty(struct fz_ring *r)
{
	if (!r->open)
		return;
	io_uring_unregister_buffers(&r->ring);
	io_uring_register_buffers_sparse(&r->ring, FZ_SLOTS);
}

/* ---- the region -------------------------------------------------------------- */

#define SYS_PAGED	"/sys/module/p2pbuf_exporter/parameters/paged"

/* Regions bound from now on. */
void fz_fixed_paged(bool on)
{
	ptk_write(SYS_PAGED, on ? "1" : "0");
}

/*
 * The block layer of 7.3 merges a request for registered peer memory with one
 * for host memory and writes to wrong addresses (Documentation/kernel-bugs.rst).
 */
static void set_nomerges(const char *value)
{
	static const char * const roles[] = { "main", "second", "error" };
	char name[NAME_MAX + 1], path[PATH_MAX];
	unsigned int i;

	for (i = 0; i < FZ_ARRAY(roles); i++) {
		if (ptn_disk_name(roles[i], name, sizeof(name)))
			continue;
		snprintf(path, sizeof(path), "/sys/block/%s/queue/nomerges",
			 name);
		ptk_write(path, value);
	}
}

static void rebind(bool paged)
{
	fz_fixed_paged(paged);
	fz_unbind(FZ_EXPORTER);
	fz_rebind();
}

void fz_fixed_begin(void)
{
	set_nomerges("2");
	rebind(true);
}

void fz_fixed_end(void)
{
	rebind(false);
	set_nomerges("0");
}
