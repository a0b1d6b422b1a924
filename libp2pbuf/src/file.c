// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Files and block devices: the buffer is registered with the kernel as a fixed
 * buffer of the ring, and requests are READ_FIXED and WRITE_FIXED on the file
 * itself. Filesystems, RAID and volumes do what they always do; the pages they
 * hand down are those of the exporter's BAR.
 *
 * It takes a paged exporter, whose memory has such pages, and files that hand
 * them down untouched (target.c, disk.c).
 *
 * A registered buffer is pinned where it is: in VRAM, or, where the disk
 * cannot do peer to peer and the caller accepts that, in host memory.
 *
 * I/O priority: the block layer of 7.3 merges a request of VRAM with an
 * adjacent one of host memory, or of another exporter, and then maps all of it
 * as the first. Requests of different priorities are not merged, so each
 * exporter has a priority of its own (an I/O hint that no disk knows) and
 * every SQE on its VRAM bears it. Who wants more can have the disks merge
 * nothing at all (queue.c).
 */

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>
#include <liburing.h>
#include <linux/kcmp.h>

#include <drm/p2pbuf_drm.h>

#include "internal.h"

#define SLOT_BYTES	0xfffff000ull	/* the kernel's limit of one slot */
#define NAMED		3		/* disks that an explanation names */

_Static_assert(P2PBUF_READ == P2PBUF_REGISTER_READ, "");
_Static_assert(P2PBUF_WRITE == P2PBUF_REGISTER_WRITE, "");

/*
 * A ring whose table we have slots in; shared by siblings.
 * @fd: keeps the ring, and so the slots, until the last binding is ended
 * @own: the ring of a binding that was made without one
 */
struct file_ring {
	atomic_uint refs;
	int fd;
	bool is_own;
	struct io_uring own;
};

struct file_binding {
	struct p2pbuf_binding base;
	struct file_ring *ring;
	int fd;
	unsigned int slot;
	uint16_t io_priority;
	struct p2pbuf_path_info path;
	struct p2pbuf_disks disks;
};

static struct file_binding *to_file(struct p2pbuf_binding *binding)
{
	return (struct file_binding *)binding;
}

/* ---- rings ---- */

static int ring_open(struct io_uring *ring, struct file_ring **out,
		     struct p2pbuf_error *error)
{
	struct file_ring *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return p2pbuf_fail(error, ENOMEM, "out of memory");
	atomic_init(&r->refs, 1);
	if (ring) {
		r->fd = fcntl(ring->ring_fd, F_DUPFD_CLOEXEC, 0);
		if (r->fd < 0) {
			ret = p2pbuf_fail(error, errno,
					  "the ring has no descriptor; bind before io_uring_close_ring_fd()");
			goto free;
		}
	} else {
		ret = io_uring_queue_init(1, &r->own, 0);
		if (ret < 0) {
			p2pbuf_fail(error, -ret, "cannot make a ring: %s",
				    strerrordesc_np(-ret));
			goto free;
		}
		r->is_own = true;
		r->fd = r->own.ring_fd;
	}
	*out = r;

	return 0;

free:
	free(r);
	return ret;
}

/*
 * A sibling of that binding is on its ring. The number says little: the ring's
 * first descriptor may be closed, and its number another ring's.
 */
static int ring_of_sibling(const struct p2pbuf_bind_args *args,
			   struct file_ring **out, struct p2pbuf_error *error)
{
	struct file_ring *r = to_file(args->opts.sibling)->ring;
	const pid_t pid = getpid();

	/* Where kcmp() is not to be had (< 0) the caller is believed. */
	if (args->ring &&
	    (args->ring->ring_fd < 0 ||
	     syscall(SYS_kcmp, pid, pid, KCMP_FILE, args->ring->ring_fd,
		     r->fd) > 0))
		return p2pbuf_fail(error, EINVAL,
				   "the sibling is on another ring");
	atomic_fetch_add(&r->refs, 1);
	*out = r;

	return 0;
}

static void ring_put(struct file_ring *r)
{
	if (atomic_fetch_sub(&r->refs, 1) != 1)
		return;
	if (r->is_own)
		io_uring_queue_exit(&r->own);
	else
		close(r->fd);
	free(r);
}

/* ---- registration ---- */

static int register_failed(const struct p2pbuf_bind_args *args, int code,
			   uint32_t placement, struct p2pbuf_error *error)
{
	const char *device = args->buf->exporter->device;
	const char *where = placement == P2PBUF_PLACEMENT_VRAM ? "device" : "host";

	switch (code) {
	case EMEDIUMTYPE:
		return p2pbuf_fail(error, EOPNOTSUPP,
				   "the memory of %s has no pages", device);
	case EPROTOTYPE:
		return p2pbuf_fail(error, EINVAL,
				   "the buffer is a window of %s, and windows cannot be bound to files",
				   device);
	case EDQUOT:
		return p2pbuf_fail(error, code,
				   "%llu more pinned bytes are over the limit of this user on %s",
				   (unsigned long long)args->buf->length, device);
	case EXDEV:
		return p2pbuf_fail(error, code,
				   "an importer that cannot reach the memory of %s is attached to the buffer",
				   device);
	case EBUSY:
		return p2pbuf_fail(error, code,
				   "the buffer cannot move to %s memory: it is pinned or in use elsewhere",
				   where);
	case EOPNOTSUPP:
		return p2pbuf_fail(error, EREMOTEIO,
				   "%s has no way to %s, which the buffer never leaves (P2PBUF_VRAM_ONLY)",
				   args->target, device);
	}
	return p2pbuf_fail(error, code, "cannot register the buffer in %s memory: %s",
			   where, p2pbuf_strerror(code));
}

/* The buffer in slot 0 of @home. */
static int register_at_home(const struct p2pbuf_bind_args *args,
			    struct io_uring *home, uint32_t rights,
			    uint32_t placement, uint64_t length,
			    struct p2pbuf_error *error)
{
	struct drm_p2pbuf_uring_cmd cmd = {
		.handle = args->buf->handle,
		.placement = placement,
		.flags = rights,
	};
	struct io_uring_sqe *sqe;
	int ret;

	ret = io_uring_register_buffers_sparse(home, 1);
	if (ret < 0)
		return p2pbuf_fail(error, -ret, "cannot make a buffer table: %s",
				   strerrordesc_np(-ret));
	/* As with ioctls: a signal, as of Ctrl-Z and fg, is no reason to fail. */
	do {
		sqe = io_uring_get_sqe(home);
		io_uring_prep_rw(IORING_OP_URING_CMD, sqe,
				 args->buf->exporter->fd,
				 (void *)(uintptr_t)args->opts.offset, length, 0);
		sqe->cmd_op = P2PBUF_URING_REGISTER;
		memcpy(sqe->cmd, &cmd, sizeof(cmd));
		ret = p2pbuf_ring_run(home);
	} while (ret == -EINTR);

	return ret < 0 ? register_failed(args, -ret, placement, error) : 0;
}

static int slot_failed(const struct p2pbuf_bind_args *args, int code,
		       struct p2pbuf_error *error)
{
	switch (code) {
	case EBUSY:
		return p2pbuf_fail(error, EADDRINUSE,
				   "slot %u of the ring's buffer table is taken",
				   args->opts.slot);
	case EMFILE:
		return p2pbuf_fail(error, code,
				   "the ring's buffer table is full");
	case EEXIST:
		return p2pbuf_fail(error, EXDEV,
				   "the ring belongs to the thread that submits on it, bind there");
	case EINVAL:
		/* Pages are accounted to a ring's user and memory, if to any. */
		return p2pbuf_fail(error, EXDEV,
				   "the ring was made by another user or process, or before this one gave up CAP_IPC_LOCK");
	}
	return p2pbuf_fail(error, code, "cannot use the ring's buffer table: %s",
			   strerrordesc_np(code));
}

/* Register by way of a ring of our own, and put the slot into the caller's. */
static int register_on_ring(const struct p2pbuf_bind_args *args,
			    struct file_binding *binding, uint32_t placement,
			    struct p2pbuf_error *error)
{
	const struct p2pbuf_limits *limits = &binding->base.limits;
	bool named = args->opts.flags & P2PBUF_SLOT;
	struct io_uring home;
	int ret;

	if (binding->ring->is_own && !args->opts.sibling)
		return register_at_home(args, &binding->ring->own,
					limits->rights, placement,
					limits->length, error);

	ret = io_uring_queue_init(1, &home, 0);
	if (ret < 0)
		return p2pbuf_fail(error, -ret, "cannot make a ring: %s",
				   strerrordesc_np(-ret));
	ret = register_at_home(args, &home, limits->rights, placement,
			       limits->length, error);
	if (ret < 0)
		goto exit;
	ret = p2pbuf_ring_fill_slot(binding->ring->fd, home.ring_fd,
				    named ? (int)args->opts.slot : -1);
	if (ret < 0) {
		ret = slot_failed(args, -ret, error);
	} else {
		binding->slot = ret;
		ret = 0;
	}
	/* Now, not by a worker some time after the ring is closed. */
	io_uring_unregister_buffers(&home);
exit:
	io_uring_queue_exit(&home);
	return ret;
}

/* ---- binding ---- */

static uint32_t rights_of(const struct p2pbuf_bind_args *args)
{
	int file = fcntl(args->fd, F_GETFL) & O_ACCMODE;
	int buf = fcntl(args->buf->fd, F_GETFL) & O_ACCMODE;
	uint32_t rights = 0;

	if (file != O_WRONLY && buf != O_RDONLY)
		rights |= P2PBUF_READ;
	if (file != O_RDONLY && buf != O_WRONLY)
		rights |= P2PBUF_WRITE;
	return rights;
}

static int range_take(const struct p2pbuf_bind_args *args,
		      struct p2pbuf_limits *limits, struct p2pbuf_error *error)
{
	const uint64_t offset = args->opts.offset, whole = args->buf->length;
	uint64_t length = args->opts.length;

	if (!length && offset < whole)
		length = whole - offset;
	if (offset % P2PBUF_PAGE || length % P2PBUF_PAGE)
		return p2pbuf_fail(error, EDOM,
				   "the range to bind, %llu bytes from %llu, is not made of multiples of %u",
				   (unsigned long long)length,
				   (unsigned long long)offset, P2PBUF_PAGE);
	if (offset >= whole || length > whole - offset)
		return p2pbuf_fail(error, ERANGE,
				   "%llu bytes from %llu are outside the buffer of %llu bytes",
				   (unsigned long long)length,
				   (unsigned long long)offset,
				   (unsigned long long)whole);
	if (length > SLOT_BYTES)
		return p2pbuf_fail(error, EFBIG,
				   "one binding to a file takes at most %llu bytes of a buffer; bind it in parts",
				   SLOT_BYTES);
	limits->offset = offset;
	limits->length = length;

	return 0;
}

static int limits_take(const struct p2pbuf_bind_args *args,
		       const struct p2pbuf_target *target,
		       struct p2pbuf_limits *limits, struct p2pbuf_error *error)
{
	int ret;

	ret = range_take(args, limits, error);
	if (ret < 0)
		return ret;
	limits->rights = rights_of(args);
	if (!limits->rights)
		return p2pbuf_fail(error, EACCES,
				   "%s and the dma-buf are not open for either direction",
				   args->target);
	limits->flags = args->opts.flags & (P2PBUF_ALLOW_SYSTEM |
					    P2PBUF_PEER_ONLY);
	limits->block_size = target->offset_align;
	limits->buf_align = target->mem_align;
	limits->max_io = target->disks.max_io;
	/* The kernel moves no more in one call (MAX_RW_COUNT). */
	limits->max_len = INT_MAX & ~(uint64_t)(P2PBUF_PAGE - 1);
	if (limits->block_size > P2PBUF_PAGE)
		limits->max_len &= ~(uint64_t)(limits->block_size - 1);
	limits->no_flush = true;
	/* A file may grow by a write, a disk does not. */
	limits->capacity = S_ISBLK(args->st.st_mode) ?
		p2pbuf_target_capacity(args->fd) :
		INT64_MAX & ~(uint64_t)(limits->block_size - 1);

	return 0;
}

static int exporter_judge(const struct p2pbuf_bind_args *args,
			  struct p2pbuf_error *error)
{
	const struct p2pbuf_exporter *exporter = args->buf->exporter;

	if (!exporter)
		return p2pbuf_fail(error, EREMOTE,
				   "%s takes buffers of a p2pbuf exporter only, and this one's exporter is not known: p2pbuf_set_exporter() tells",
				   args->target);
	if (!exporter->is_paged)
		return p2pbuf_fail(error, EOPNOTSUPP,
				   "the memory of %s has no pages, which I/O with %s needs; the exporter's module parameter 'paged' gives it some",
				   exporter->device, args->target);
	return 0;
}

/* The path of all disks together is that of the worst. */
static int paths_find(const struct p2pbuf_bind_args *args,
		      const struct p2pbuf_disks *disks,
		      struct p2pbuf_path_info *worst,
		      struct p2pbuf_error *error)
{
	struct p2pbuf_path_info path;
	char text[200];
	unsigned int i;
	int ret, code;

	memset(worst, 0, sizeof(*worst));
	for (i = 0; i < disks->n; i++) {
		ret = p2pbuf_route_find(args->buf->exporter, disks->pci[i],
					&path);
		if (ret < 0)
			return p2pbuf_fail(error, -ret,
					   "%s does not answer: %s",
					   args->buf->exporter->node,
					   p2pbuf_strerror(ret));
		if (path.path == P2PBUF_PATH_REFUSED) {
			code = path.reason == P2PBUF_REASON_NO_ROUTE ?
				EHOSTUNREACH : EFAULT;
			p2pbuf_path_describe(&path, text, sizeof(text));
			return p2pbuf_fail(error, code, "%s", text);
		}
		if (path.path > worst->path)
			*worst = path;
	}

	return 0;
}

/*
 * Where the buffer will be: VRAM if every disk reaches it, host memory if the
 * caller accepts that, else nowhere.
 */
static int place_find(const struct p2pbuf_bind_args *args,
		      struct p2pbuf_target *target,
		      struct p2pbuf_path_info *path, uint32_t *placement,
		      struct p2pbuf_error *error)
{
	struct p2pbuf_error *obstacle = &target->obstacle;

	if (!obstacle->code)
		paths_find(args, &target->disks, path, obstacle);
	if (!obstacle->code) {
		*placement = P2PBUF_PLACEMENT_VRAM;
		return 0;
	}
	if (!(args->opts.flags & P2PBUF_ALLOW_SYSTEM))
		return p2pbuf_fail(error, obstacle->code, "%s", obstacle->text);

	memset(path, 0, sizeof(*path));
	path->path = P2PBUF_PATH_SYSTEM;
	path->importer = target->disks.n ? target->disks.pci[0] :
					   P2PBUF_PATH_NO_DEVICE;
	path->exporter = P2PBUF_PATH_NO_DEVICE;
	path->blocker = P2PBUF_PATH_NO_DEVICE;
	*placement = P2PBUF_PLACEMENT_SYSTEM;

	return 0;
}

/* Registering moved the buffer, and then the binding failed. */
static void place_restore(const struct p2pbuf_bind_args *args)
{
	struct p2pbuf_buffer_info now = { .size = sizeof(now) };

	if (!p2pbuf_query(args->buf, &now) &&
	    now.placement != args->before.placement)
		p2pbuf_move(args->buf, args->before.placement, 0, NULL);
}

static int file_bind(const struct p2pbuf_bind_args *args,
		     struct p2pbuf_binding **out, struct p2pbuf_error *error)
{
	struct p2pbuf_target target;
	struct file_binding *binding;
	uint32_t placement = 0;
	int ret;

	ret = exporter_judge(args, error);
	if (!ret)
		ret = p2pbuf_target_judge(args, &target, error);
	if (ret < 0)
		return ret;

	binding = calloc(1, sizeof(*binding));
	if (!binding)
		return p2pbuf_fail(error, ENOMEM, "out of memory");
	binding->base.backend = &p2pbuf_backend_file;
	memcpy(binding->base.target, args->target, sizeof(args->target));
	ret = limits_take(args, &target, &binding->base.limits, error);
	if (!ret)
		ret = place_find(args, &target, &binding->path, &placement,
				 error);
	if (ret < 0)
		goto free;
	binding->disks = target.disks;
	if (placement == P2PBUF_PLACEMENT_VRAM)
		binding->io_priority = args->buf->exporter->io_priority;

	binding->fd = fcntl(args->fd, F_DUPFD_CLOEXEC, 0);
	if (binding->fd < 0) {
		ret = p2pbuf_fail(error, errno, "%s: %s", args->target,
				  strerrordesc_np(errno));
		goto free;
	}
	if (args->opts.sibling)
		ret = ring_of_sibling(args, &binding->ring, error);
	else
		ret = ring_open(args->ring, &binding->ring, error);
	if (ret < 0)
		goto close;
	ret = register_on_ring(args, binding, placement, error);
	if (ret < 0)
		goto restore;
	/* Last, because it is other programs' business, too. */
	if (args->opts.flags & P2PBUF_NOMERGES &&
	    placement == P2PBUF_PLACEMENT_VRAM) {
		ret = p2pbuf_disks_stop_merges(&binding->disks, error);
		if (ret < 0)
			goto clear_slot;
	}
	*out = &binding->base;

	return 0;

clear_slot:
	p2pbuf_ring_clear_slot(binding->ring->fd, binding->slot);
restore:
	place_restore(args);
	ring_put(binding->ring);
close:
	close(binding->fd);
free:
	free(binding);
	return ret;
}

/*
 * All fields that the kernel reads for a request of this kind, but for
 * user_data, flags and personality, which are the caller's.
 */
static void file_prep(struct io_uring_sqe *sqe, struct p2pbuf_binding *binding,
		      uint32_t direction, uint64_t buf_off, uint32_t len,
		      uint64_t file_off, uint32_t flags)
{
	struct file_binding *file = to_file(binding);

	sqe->opcode = direction == P2PBUF_READ ? IORING_OP_READ_FIXED :
						 IORING_OP_WRITE_FIXED;
	sqe->ioprio = file->io_priority;
	sqe->fd = file->fd;
	sqe->off = file_off;
	sqe->addr = buf_off;
	sqe->len = len;
	sqe->rw_flags = flags & P2PBUF_FUA ? RWF_DSYNC : 0;
	sqe->buf_index = file->slot;
	sqe->file_index = 0;	/* the write stream */
	sqe->addr3 = 0;
	sqe->__pad2[0] = 0;
}

static int file_info(struct p2pbuf_binding *binding,
		     struct p2pbuf_bind_info *info)
{
	struct file_binding *file = to_file(binding);
	size_t n;
	uint32_t i;

	info->path = file->path;
	info->capacity = p2pbuf_target_capacity(file->fd);
	info->slot = file->slot;
	info->io_priority = file->io_priority;
	info->device_count = file->disks.n;
	if (file->io_priority && !p2pbuf_disks_merge(&file->disks))
		info->flags |= P2PBUF_NOMERGES;
	for (i = 0; i < file->disks.n && i < P2PBUF_BIND_DEVICES; i++)
		info->devices[i] = file->disks.pci[i];

	if (file->path.path == P2PBUF_PATH_SYSTEM)
		return 0;
	if (!p2pbuf_target_is_direct(file->fd)) {
		info->path.path = P2PBUF_PATH_SYSTEM;
		snprintf(info->why, sizeof(info->why),
			 "the filesystem does no direct I/O on %.100s any more (journalled, inline or verified data), so the CPU copies by way of the page cache",
			 binding->target);
		return 0;
	}
	if (file->disks.n < 2)
		return 0;
	p2pbuf_path_describe(&file->path, info->why, sizeof(info->why));
	for (i = 0; i < file->disks.n && i < NAMED; i++) {
		char bdf[P2PBUF_BDF_LEN];

		if (file->disks.pci[i] == file->path.importer)
			continue;
		p2pbuf_pci_text(file->disks.pci[i], bdf);
		n = strlen(info->why);
		snprintf(info->why + n, sizeof(info->why) - n, "; so does %s",
			 bdf);
	}

	return 0;
}

static const char *io_text(int code)
{
	switch (code) {
	case EIO:
		return "the disk or the filesystem reported an error";
	case ENODATA:
		return "the disk reported an unrecovered media error";
	case ENODEV:
	case ENXIO:
		return "the disk is gone";
	case EREMOTEIO:
		return "the disk cannot reach the buffer, peer to peer, any more";
	case EINVAL:
		return "the file's alignment grew, or its disk cannot reach the buffer any more";
	case EFAULT:
		return "the ring's buffer table does not hold the buffer any more";
	case ENOSPC:
		return "the filesystem is full";
	case EDQUOT:
		return "over the user's quota of the filesystem";
	case EFBIG:
		return "larger than a file may get";
	case EROFS:
		return "the filesystem is read-only";
	case EBADF:
		return "the file is not open for this direction";
	case ECANCELED:
		return "the request was canceled, or one it was linked to failed";
	case EINTR:
		return "interrupted";
	}
	return NULL;
}

static bool file_io_error(struct p2pbuf_binding *binding, int code,
			  struct p2pbuf_error *error)
{
	const char *text = io_text(code);

	if (!text)
		return false;
	p2pbuf_fail(error, code, "%s: %s", binding->target, text);

	return true;
}

static int file_fd(struct p2pbuf_binding *binding)
{
	return to_file(binding)->fd;
}

/*
 * Requests that have begun hold what they use: the slot may be emptied under
 * them, the memory stays pinned until the last has ended. Those that have not
 * (behind a link or a drain, for a worker, in SQPOLL's queue) hold nothing but
 * the numbers of the descriptor and the slot. The descriptor's the next binding
 * is likely to have; the slot's it has not before its turn comes (ring.c), so
 * they fail. Nobody can tell when the last of them is gone but he who reaps
 * their CQEs, which is why p2pbuf_bind(3) asks for that.
 */
static void file_unbind(struct p2pbuf_binding *binding)
{
	struct file_binding *file = to_file(binding);

	p2pbuf_ring_clear_slot(file->ring->fd, file->slot);
	ring_put(file->ring);
	close(file->fd);
	free(file);
}

const struct p2pbuf_backend p2pbuf_backend_file = {
	.name = "file",
	.claim = p2pbuf_target_claim,
	.bind = file_bind,
	.prep = file_prep,
	.info = file_info,
	.io_error = file_io_error,
	.fd = file_fd,
	.unbind = file_unbind,
};
