// SPDX-License-Identifier: GPL-2.0
/* The exporter's render node, and CPU mappings of what it gives. */
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>

#include "fuzz.h"

/* The table of drm/p2pbuf_drm.h. */
static const int drm_errnos[] = {
	EINVAL, E2BIG, ENOENT, EDOM, ERANGE, EPERM, ENOSPC, ENOMEM, EDQUOT,
	EBUSY, EXDEV, EOPNOTSUPP, EINTR, ENODEV, EFAULT, ENXIO, 0
};

static const int prime_errnos[] = {
	EINVAL, ENOENT, ENOMEM, EREMOTE, EACCES, EBADF, EMFILE, ENODEV, EINTR, EFAULT,
	0
};

/*
 * An ioctl whose number says another size than the struct's, at times. Never
 * a smaller one for the copy: @size bytes are placed.
 */
static long drm_call(struct fz_worker *w, const char *name, int fd,
		     unsigned long request, void *arg, size_t size,
		     const int *allowed)
{
	char bytes[512] = { 0 };
	size_t told = size;
	void *place;
	long ret;

	if (fd < 0)	/* the second exporter is away */
		allowed = NULL;
	memcpy(bytes, arg, size);
	if (fz_once_in(&w->rng, 32)) {
		told = fz_below(&w->rng, sizeof(bytes));
		if (fz_once_in(&w->rng, 2))
			bytes[fz_below(&w->rng, sizeof(bytes))]++;
		request = _IOC(_IOC_DIR(request), _IOC_TYPE(request),
			       _IOC_NR(request), told);
	} else if (fz_once_in(&w->rng, 64)) {
		request ^= 1UL << fz_below(&w->rng, 32);
		allowed = NULL;
	}
	place = fz_place(w, bytes, told > size ? told : size);
	ret = ioctl(fd, request, place);
	if (ret < 0)
		ret = -errno;
	else if (place >= (void *)w->arena && place < (void *)(w->arena + FZ_ARENA - size))
		memcpy(arg, place, size);
	return fz_done(w, name, ret, allowed);
}

static int any_drm(struct fz_worker *w, int *index)
{
	*index = fz_below(&w->rng, FZ_DRMS);
	if (fz_once_in(&w->rng, 2))
		*index = 0;
	return w->drm[*index];
}

static __u32 any_handle(struct fz_worker *w, const struct fz_bo *bo)
{
	if (fz_once_in(&w->rng, 16))
		return (__u32)fz_edge(&w->rng);
	return bo->handle;
}

static void drm_bo_close(struct fz_worker *w, struct fz_bo *bo)
{
	struct drm_gem_close arg = { .handle = bo->handle };

	if (bo->handle)
		fz_done(w, "GEM_CLOSE", ptx_ioctl(w->drm[bo->drm],
						  DRM_IOCTL_GEM_CLOSE, &arg),
			NULL);
	memset(bo, 0, sizeof(*bo));
}

static void drm_create(struct fz_worker *w)
{
	static const struct fz_field fields[] = {
		FZ_FIELD(struct drm_p2pbuf_gem_create, size),
		FZ_FIELD(struct drm_p2pbuf_gem_create, window_offset),
		FZ_FIELD(struct drm_p2pbuf_gem_create, placement),
		FZ_FIELD(struct drm_p2pbuf_gem_create, flags),
		FZ_FIELD(struct drm_p2pbuf_gem_create, handle),
		FZ_FIELD(struct drm_p2pbuf_gem_create, pad),
		FZ_FIELD(struct drm_p2pbuf_gem_create, mmap_offset),
	};
	struct drm_p2pbuf_gem_create arg = { .size = fz_size(&w->rng) };
	struct fz_bo *bo = &w->bo[fz_below(&w->rng, FZ_BOS)];
	int index, fd;

	arg.placement = 1U << fz_below(&w->rng, 2);
	if (fz_once_in(&w->rng, 8)) {
		arg.flags = 1U << fz_below(&w->rng, 2);
		arg.placement = P2PBUF_PLACEMENT_VRAM;
		if (arg.flags == P2PBUF_CREATE_WINDOW)
			arg.window_offset = fz_below(&w->rng, 4096) * PTN_PAGE;
	}
	fz_mutate(&w->rng, &arg, fields, FZ_ARRAY(fields));
	drm_bo_close(w, bo);
	fd = any_drm(w, &index);
	if (drm_call(w, "GEM_CREATE", fd, DRM_IOCTL_P2PBUF_GEM_CREATE, &arg,
		     sizeof(arg), drm_errnos) < 0)
		return;
	*bo = (struct fz_bo) {
		.drm = index, .handle = arg.handle, .size = arg.size,
		.offset = arg.mmap_offset,
	};
}

static void drm_move(struct fz_worker *w)
{
	static const struct fz_field fields[] = {
		FZ_FIELD(struct drm_p2pbuf_gem_move, handle),
		FZ_FIELD(struct drm_p2pbuf_gem_move, placement),
		FZ_FIELD(struct drm_p2pbuf_gem_move, flags),
		FZ_FIELD(struct drm_p2pbuf_gem_move, pad),
	};
	struct fz_bo *bo = fz_any_bo(w);
	struct drm_p2pbuf_gem_move arg = {
		.handle = any_handle(w, bo),
		.placement = 1U << fz_below(&w->rng, 2),
		.flags = fz_below(&w->rng, 2),
	};

	fz_mutate(&w->rng, &arg, fields, FZ_ARRAY(fields));
	drm_call(w, "GEM_MOVE", w->drm[bo->drm], DRM_IOCTL_P2PBUF_GEM_MOVE,
		 &arg, sizeof(arg), drm_errnos);
}

static void drm_info(struct fz_worker *w)
{
	static const struct fz_field fields[] = {
		FZ_FIELD(struct drm_p2pbuf_gem_info, handle),
		FZ_FIELD(struct drm_p2pbuf_gem_info, pad),
		FZ_FIELD(struct drm_p2pbuf_gem_info, placement),
		FZ_FIELD(struct drm_p2pbuf_gem_info, pins),
	};
	struct fz_bo *bo = fz_any_bo(w);
	struct drm_p2pbuf_gem_info arg = { .handle = any_handle(w, bo) };

	fz_mutate(&w->rng, &arg, fields, FZ_ARRAY(fields));
	drm_call(w, "GEM_INFO", w->drm[bo->drm], DRM_IOCTL_P2PBUF_GEM_INFO,
		 &arg, sizeof(arg), drm_errnos);
}

static void drm_device_info(struct fz_worker *w)
{
	struct drm_p2pbuf_device_info arg = { 0 };
	int index, fd = any_drm(w, &index);

	if (fz_once_in(&w->rng, 4))
		memset(&arg, (int)fz_next(&w->rng), sizeof(arg));
	drm_call(w, "DEVICE_INFO", fd, DRM_IOCTL_P2PBUF_DEVICE_INFO, &arg,
		 sizeof(arg), drm_errnos);
}

static void drm_peer_info(struct fz_worker *w)
{
	struct drm_p2pbuf_peer_info arg = {
		.pci = fz_below(&w->rng, 16) << 8 | fz_below(&w->rng, 8) << 3,
		.flags = fz_once_in(&w->rng, 4) ? (__u32)fz_next(&w->rng) : 0,
	};
	int index, fd = any_drm(w, &index);

	if (fz_once_in(&w->rng, 8))
		arg.pci = (__u32)fz_edge(&w->rng);
	drm_call(w, "PEER_INFO", fd, DRM_IOCTL_P2PBUF_PEER_INFO, &arg,
		 sizeof(arg), drm_errnos);
}

static void drm_export(struct fz_worker *w)
{
	struct fz_bo *bo = fz_any_bo(w);
	struct drm_prime_handle arg = {
		.handle = any_handle(w, bo),
		.flags = DRM_CLOEXEC | (fz_once_in(&w->rng, 4) ? 0 : DRM_RDWR),
		.fd = -1,
	};

	if (fz_once_in(&w->rng, 32))
		arg.flags = (__u32)fz_edge(&w->rng);
	if (fz_done(w, "HANDLE_TO_FD",
		    ptx_ioctl(w->drm[bo->drm], DRM_IOCTL_PRIME_HANDLE_TO_FD,
			      &arg),
		    w->drm[bo->drm] < 0 ? NULL : prime_errnos) >= 0)
		fz_keep_buf(w, arg.fd, false);
}

static void drm_import(struct fz_worker *w)
{
	struct drm_prime_handle arg = { .fd = fz_any_buf(w) };
	struct fz_bo *bo = &w->bo[fz_below(&w->rng, FZ_BOS)];
	int index, fd = any_drm(w, &index);

	if (drm_call(w, "FD_TO_HANDLE", fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, &arg,
		     sizeof(arg), prime_errnos) < 0)
		return;
	/* The same handle may be in the table twice: closed twice, then. */
	drm_bo_close(w, bo);
	*bo = (struct fz_bo) { .drm = index, .handle = arg.handle };
}

/* Any of DRM's own, with zeroes or with noise. */
static void drm_other(struct fz_worker *w)
{
	static const unsigned long calls[] = {
		DRM_IOCTL_VERSION, DRM_IOCTL_GET_CAP, DRM_IOCTL_GEM_FLINK,
		DRM_IOCTL_GEM_OPEN, DRM_IOCTL_SET_CLIENT_CAP,
		DRM_IOCTL_SYNCOBJ_CREATE, DRM_IOCTL_MODE_CREATE_DUMB,
		DRM_IOCTL_MODE_MAP_DUMB, DRM_IOCTL_GET_MAGIC,
		DRM_IOCTL_SET_MASTER, DRM_IOCTL_GET_UNIQUE,
	};
	unsigned long request = calls[fz_below(&w->rng, FZ_ARRAY(calls))];
	__u64 bytes[16] = { 0 };
	int index, fd = any_drm(w, &index);
	unsigned int i;

	if (fz_once_in(&w->rng, 4))
		request = _IOWR(DRM_IOCTL_BASE, DRM_COMMAND_BASE +
				fz_below(&w->rng, 0x60), __u64[4]);
	for (i = 0; fz_once_in(&w->rng, 2) && i < FZ_ARRAY(bytes); i++)
		bytes[i] = fz_below(&w->rng, 16);
	fz_done(w, "DRM, other", ioctl(fd, request, bytes) ? -errno : 0, NULL);
}

/* ---- what must be refused ---------------------------------------------------- */

static void create_wrong(struct fz_worker *w, int fd)
{
	struct drm_p2pbuf_gem_create arg = {
		.size = PTN_PAGE, .placement = P2PBUF_PLACEMENT_VRAM,
	};

	switch (fz_below(&w->rng, 6)) {
	case 0:
		arg.size = fz_below(&w->rng, 4) * PTN_PAGE +
			   fz_below(&w->rng, 2) * fz_below(&w->rng, PTN_PAGE);
		if (arg.size && !(arg.size % PTN_PAGE))
			arg.size++;
		break;
	case 1:		/* more than any device or this machine has */
		arg.size = fz_unknown_bit(&w->rng, 0xffff) * (PTN_PAGE << 24);
		break;
	case 2:
		arg.placement = fz_wrong_placement(&w->rng);
		break;
	case 3:
		arg.flags = fz_unknown_bit(&w->rng, 3);
		break;
	case 4:
		arg.pad = 1U << fz_below(&w->rng, 32);
		break;
	default:	/* not a window's */
		arg.window_offset = 1ULL << fz_below(&w->rng, 64);
	}
	fz_ioctl_refused(w, "GEM_CREATE, wrong", fd,
			 DRM_IOCTL_P2PBUF_GEM_CREATE,
			 &arg, sizeof(arg), drm_errnos);
}

/* Not on the file that all have: DRM waits for RCU when its user changes. */
static void move_wrong(struct fz_worker *w, int fd)
{
	struct drm_p2pbuf_gem_move arg = {
		.handle = fz_any_bo(w)->handle,
		.placement = P2PBUF_PLACEMENT_VRAM,
		.flags = P2PBUF_MOVE_NOWAIT,
	};

	switch (fz_below(&w->rng, 4)) {
	case 0:
		arg.handle = fz_unknown_bit(&w->rng, 0xffff);
		break;
	case 1:
		arg.placement = fz_wrong_placement(&w->rng);
		break;
	case 2:
		arg.flags |= fz_unknown_bit(&w->rng, P2PBUF_MOVE_NOWAIT);
		break;
	default:
		arg.pad = 1U << fz_below(&w->rng, 32);
	}
	fz_ioctl_refused(w, "GEM_MOVE, wrong", fd, DRM_IOCTL_P2PBUF_GEM_MOVE,
			 &arg, sizeof(arg), drm_errnos);
}

static void info_wrong(struct fz_worker *w, int fd)
{
	struct drm_p2pbuf_gem_info info = {
		.handle = fz_unknown_bit(&w->rng, 0xffff),
	};
	struct drm_p2pbuf_peer_info peer = {
		.pci = fz_unknown_bit(&w->rng, 0xffffff),
	};

	if (!fz_once_in(&w->rng, 8))	/* the other looks at every bus */
		fz_ioctl_refused(w, "GEM_INFO, wrong", fd,
				 DRM_IOCTL_P2PBUF_GEM_INFO,
				 &info, sizeof(info), drm_errnos);
	else
		fz_ioctl_refused(w, "PEER_INFO, wrong", fd,
				 DRM_IOCTL_P2PBUF_PEER_INFO,
				 &peer, sizeof(peer), drm_errnos);
}

void fz_drm_wrong(struct fz_worker *w)
{
	int index, fd = any_drm(w, &index);

	if (fd < 0)	/* the second exporter is away */
		fd = fz_common_drm;
	switch (fz_below(&w->rng, 3)) {
	case 0:
		return create_wrong(w, fd);
	case 1:
		return move_wrong(w, fd);
	default:
		return info_wrong(w, fd);
	}
}

/* ---- CPU mappings ---------------------------------------------------------- */

static sigjmp_buf touch_back;

static void touch_failed(int sig)
{
	(void)sig;
	siglongjmp(touch_back, 1);
}

static void touch_bytes(struct fz_worker *w, const struct fz_map *map)
{
	volatile __u64 *word = map->p;
	__u64 value = fz_next(&w->rng), i, at[4];
	bool write = fz_once_in(&w->rng, 2);

	/* Chosen first: a fault must not change what follows. */
	for (i = 0; i < FZ_ARRAY(at); i++)
		at[i] = fz_below(&w->rng, map->len / 8);
	signal(SIGBUS, touch_failed);
	signal(SIGSEGV, touch_failed);
	if (sigsetjmp(touch_back, 1)) {
		fz_done(w, "touch", -EFAULT, NULL);
		goto reset;
	}
	for (i = 0; i < FZ_ARRAY(at); i++) {
		if (write)
			word[at[i]] = value;
		else
			value += word[at[i]];
	}
	fz_done(w, "touch", 0, NULL);
reset:
	signal(SIGBUS, SIG_DFL);
	signal(SIGSEGV, SIG_DFL);
}

/* Map an object or a dma-buf, or use what is mapped. */
void fz_touch(struct fz_worker *w)
{
	struct fz_map *map = &w->map[fz_below(&w->rng, FZ_MAPS)];
	struct fz_bo *bo = fz_any_bo(w);
	size_t len = fz_size(&w->rng);
	int prot = 1 + fz_below(&w->rng, 3), fd = w->drm[bo->drm];
	int flags = fz_once_in(&w->rng, 16) ? MAP_PRIVATE : MAP_SHARED;
	__u64 offset = bo->offset;
	void *p;

	if (fz_once_in(&w->rng, 2)) {
		fd = fz_any_buf(w);
		offset = 0;
	}
	if (fz_once_in(&w->rng, 8))
		offset += fz_edge(&w->rng) & ~(PTN_PAGE - 1);
	if (!fz_once_in(&w->rng, 4)) {
		if (map->p)
			touch_bytes(w, map);
		return;
	}
	if (map->p)
		munmap(map->p, map->len);
	map->p = NULL;
	p = mmap(NULL, len, prot, flags, fd, offset);
	fz_done(w, "mmap", p == MAP_FAILED ? -errno : 0, NULL);
	if (p == MAP_FAILED)
		return;
	map->p = p;
	map->len = len;
	if (fz_once_in(&w->rng, 8))
		madvise(p, len, MADV_DONTNEED);
}

void fz_drm(struct fz_worker *w)
{
	switch (fz_below(&w->rng, 32)) {
	case 0 ... 3:
		return drm_create(w);
	case 4 ... 6:
		return drm_move(w);
	case 7 ... 9:
		return drm_export(w);
	case 10 ... 11:
		return drm_import(w);
	case 12:
		return drm_bo_close(w, fz_any_bo(w));
	case 13 ... 15:
		return drm_other(w);
	case 16 ... 18:
		return drm_device_info(w);
	case 19 ... 20:
		return drm_peer_info(w);
	default:
		return drm_info(w);
	}
}
