// SPDX-License-Identifier: GPL-2.0
/* Ioctls of /dev/p2pbuf-nvme, and the page cache of the disks beside it. */
#include <stddef.h>

#include "fuzz.h"

/*
 * The table of linux/p2pbuf_nvme.h. What it calls the exporter's own errors
 * are those of drm/p2pbuf_drm.h that attaching and mapping can give.
 */
static const int bind_errnos[] = {
	EINVAL, E2BIG, EFAULT, ENOENT, ENOMEM, EINTR, EBADF, EBADFD, ENOTBLK,
	EPROTOTYPE, EMLINK, EMEDIUMTYPE, EOPNOTSUPP, EPROTO, ERANGE, EDOM,
	EACCES, EMFILE, EDQUOT, ENODEV, EREMOTEIO, EHOSTUNREACH, EHOSTDOWN,
	EADDRNOTAVAIL, ENODATA,
	EBUSY, ENOSPC, 0
};

static const int id_errnos[] = {
	EINVAL, E2BIG, EFAULT, ENOENT, EINTR, 0
};

static long nvme_call(struct fz_worker *w, const char *name, int fd,
		      unsigned long request, void *arg, size_t size,
		      const int *allowed)
{
	void *place = fz_argument(w, arg, size, &request, &allowed);
	long ret;

	ret = ioctl(fd, request, place);
	if (ret < 0)
		ret = -errno;
	else if (place == w->arena)
		memcpy(arg, place, size);
	return fz_done(w, name, ret, allowed);
}

static void nvme_unbind(struct fz_worker *w, unsigned int node,
			unsigned int slot)
{
	struct p2pbuf_nvme_unbind arg = {
		.size = sizeof(arg),
		.id = w->id[node][slot],
	};

	if (fz_once_in(&w->rng, 8))
		arg.id = (__u32)fz_edge(&w->rng);
	nvme_call(w, "UNBIND", w->node[node], P2PBUF_NVME_UNBIND, &arg,
		  sizeof(arg), id_errnos);
	w->id[node][slot] = 0;
}

static void nvme_bind(struct fz_worker *w)
{
	static const struct fz_field fields[] = {
		FZ_FIELD(struct p2pbuf_nvme_bind, flags),
		FZ_FIELD(struct p2pbuf_nvme_bind, offset),
		FZ_FIELD(struct p2pbuf_nvme_bind, length),
		FZ_FIELD(struct p2pbuf_nvme_bind, id),
		FZ_FIELD(struct p2pbuf_nvme_bind, rights),
		FZ_FIELD(struct p2pbuf_nvme_bind, path.path),
		FZ_FIELD(struct p2pbuf_nvme_bind, reserved[0]),
		FZ_FIELD(struct p2pbuf_nvme_bind, reserved[1]),
	};
	unsigned int node = fz_below(&w->rng, FZ_NODES);
	unsigned int slot = fz_below(&w->rng, FZ_IDS);
	struct p2pbuf_nvme_bind arg = {
		.size = sizeof(arg),
		.flags = fz_once_in(&w->rng, 8) ? fz_below(&w->rng, 4) :
						  P2PBUF_NVME_BIND_ALLOW_SYSTEM,
		.dmabuf_fd = fz_any_buf(w),
		.bdev_fd = fz_any_disk(w),
	};

	if (fz_once_in(&w->rng, 2)) {
		arg.offset = fz_below(&w->rng, 16) * PTN_PAGE;
		arg.length = fz_below(&w->rng, 16) * PTN_PAGE;
	}
	fz_mutate(&w->rng, &arg, fields, FZ_ARRAY(fields));
	if (w->id[node][slot])
		nvme_unbind(w, node, slot);
	if (nvme_call(w, "BIND", w->node[node], P2PBUF_NVME_BIND, &arg,
		      sizeof(arg), bind_errnos) >= 0)
		w->id[node][slot] = arg.id;
}

static void nvme_info(struct fz_worker *w)
{
	static const struct fz_field fields[] = {
		FZ_FIELD(struct p2pbuf_nvme_bind_info, id),
		FZ_FIELD(struct p2pbuf_nvme_bind_info, path.generation),
		FZ_FIELD(struct p2pbuf_nvme_bind_info, reserved[0]),
		FZ_FIELD(struct p2pbuf_nvme_bind_info, reserved[1]),
	};
	unsigned int node = fz_below(&w->rng, FZ_NODES);
	struct p2pbuf_nvme_bind_info arg = {
		.size = sizeof(arg),
		.id = fz_any_id(w, node),
	};

	fz_mutate(&w->rng, &arg, fields, FZ_ARRAY(fields));
	nvme_call(w, "BIND_INFO", w->node[node], P2PBUF_NVME_BIND_INFO, &arg,
		  sizeof(arg), id_errnos);
}

/* ---- what must be refused ---------------------------------------------------- */

static void bind_wrong(struct fz_worker *w)
{
	struct p2pbuf_nvme_bind arg = {
		.size = sizeof(arg),
		.flags = P2PBUF_NVME_BIND_ALLOW_SYSTEM,
		.dmabuf_fd = fz_common[fz_below(&w->rng, FZ_COMMON)],
		.bdev_fd = w->disk[0],
	};

	switch (fz_below(&w->rng, 10)) {
	case 0:
		arg.size = fz_below(&w->rng, sizeof(arg));
		break;
	case 1:
		arg.flags |= fz_unknown_bit(&w->rng, 3);
		break;
	case 2:
		arg.flags |= P2PBUF_NVME_BIND_PEER_ONLY;
		break;
	case 3:
		arg.dmabuf_fd = w->junk[fz_below(&w->rng, FZ_JUNK)];
		break;
	case 4:
		arg.bdev_fd = w->junk[fz_below(&w->rng, FZ_JUNK)];
		break;
	case 5:
		arg.offset = fz_misaligned(&w->rng, 4);
		break;
	case 6:
		arg.length = fz_misaligned(&w->rng, 4);
		break;
	case 7:		/* no buffer is as long */
		arg.offset = -(1 + fz_below(&w->rng, 1 << 20)) * PTN_PAGE;
		arg.length = fz_below(&w->rng, 1 << 20) * PTN_PAGE;
		break;
	case 8:
		arg.length = -(1 + fz_below(&w->rng, 1 << 20)) * PTN_PAGE;
		arg.offset = fz_below(&w->rng, 16) * PTN_PAGE;
		break;
	default:
		arg.reserved[fz_below(&w->rng, 2)] =
			1ULL << fz_below(&w->rng, 64);
	}
	fz_ioctl_refused(w, "BIND, wrong", w->node[fz_below(&w->rng, FZ_NODES)],
			 P2PBUF_NVME_BIND, &arg, sizeof(arg), bind_errnos);
}

/* No binding has it: they begin with 1, and there are less than 2^16. */
static __u32 wrong_id(struct fz_worker *w)
{
	return fz_once_in(&w->rng, 8) ? 0 :
	       fz_unknown_bit(&w->rng, 0xffff) | fz_below(&w->rng, 65536);
}

static void id_wrong(struct fz_worker *w)
{
	int node = w->node[fz_below(&w->rng, FZ_NODES)];
	struct p2pbuf_nvme_bind_info info = {
		.size = sizeof(info), .id = wrong_id(w),
	};
	struct p2pbuf_nvme_unbind unbind = {
		.size = sizeof(unbind), .id = info.id,
	};

	if (fz_once_in(&w->rng, 2))
		fz_ioctl_refused(w, "UNBIND, wrong", node, P2PBUF_NVME_UNBIND,
				 &unbind, sizeof(unbind), id_errnos);
	else
		fz_ioctl_refused(w, "BIND_INFO, wrong", node,
				 P2PBUF_NVME_BIND_INFO,
				 &info, sizeof(info), id_errnos);
}

void fz_nvme_wrong(struct fz_worker *w)
{
	if (fz_once_in(&w->rng, 2))
		bind_wrong(w);
	else
		id_wrong(w);
}

/* ---- what may succeed -------------------------------------------------------- */

void fz_nvme(struct fz_worker *w)
{
	unsigned int node;

	/* BIND looks at the disk and UNBIND waits for a grace period */
	switch (fz_below(&w->rng, 64)) {
	case 0 ... 11:
		return nvme_bind(w);
	case 12:
		node = fz_below(&w->rng, FZ_NODES);
		return nvme_unbind(w, node, fz_below(&w->rng, FZ_IDS));
	default:
		return nvme_info(w);
	}
}

/* Somebody else uses the disk, through the page cache or past it. */
void fz_file_io(struct fz_worker *w)
{
	int fd = w->disk[fz_below(&w->rng, w->disks)];
	__u64 offset = fz_below(&w->rng, 1024) * PTN_PAGE;
	ssize_t n;

	if (fz_once_in(&w->rng, 2))
		n = pread(fd, w->arena, PTN_PAGE, offset);
	else
		n = pwrite(fd, w->arena, PTN_PAGE, offset);
	fz_done(w, "disk by file", n < 0 ? -errno : 0, NULL);
}
