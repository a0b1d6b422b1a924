// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Pre-mapped NVMe I/O: a binding lives in an open /dev/p2pbuf-nvme, where the
 * kernel knows it by an id, and each request is an IORING_OP_URING_CMD on that
 * file. Siblings share one open file.
 */

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <liburing.h>

#include <linux/p2pbuf_nvme.h>

#include "internal.h"

#define NODE	"/dev/p2pbuf-nvme"

_Static_assert(P2PBUF_ALLOW_SYSTEM == P2PBUF_NVME_BIND_ALLOW_SYSTEM, "");
_Static_assert(P2PBUF_PEER_ONLY == P2PBUF_NVME_BIND_PEER_ONLY, "");
_Static_assert(P2PBUF_READ == P2PBUF_NVME_RIGHT_READ, "");
_Static_assert(P2PBUF_WRITE == P2PBUF_NVME_RIGHT_WRITE, "");
_Static_assert(P2PBUF_FUA == P2PBUF_NVME_FUA, "");
_Static_assert(P2PBUF_FLUSH == P2PBUF_NVME_FLUSH, "");

struct nvme_file {
	atomic_uint refs;
	int fd;
};

struct nvme_binding {
	struct p2pbuf_binding base;
	struct nvme_file *file;
	uint32_t id;
};

static struct nvme_binding *to_nvme(struct p2pbuf_binding *binding)
{
	return (struct nvme_binding *)binding;
}

static int file_open(struct nvme_file **out, struct p2pbuf_error *error)
{
	struct nvme_file *file = calloc(1, sizeof(*file));
	int ret;

	if (!file)
		return p2pbuf_fail(error, ENOMEM, "out of memory");
	atomic_init(&file->refs, 1);
	file->fd = open(NODE, O_RDWR | O_CLOEXEC);
	if (file->fd >= 0) {
		*out = file;
		return 0;
	}

	switch (errno) {
	case ENOENT:
	case ENXIO:
		ret = p2pbuf_fail(error, ENXIO,
				  "there is no " NODE ": the module p2pbuf_nvme is not loaded");
		break;
	case EACCES:
	case EPERM:
		ret = p2pbuf_fail(error, EPERM,
				  "this process may not open " NODE ": its group may");
		break;
	default:
		ret = p2pbuf_fail(error, errno, "cannot open " NODE ": %s",
				  strerrordesc_np(errno));
	}
	free(file);
	return ret;
}

static void file_put(struct nvme_file *file)
{
	if (atomic_fetch_sub(&file->refs, 1) != 1)
		return;
	close(file->fd);
	free(file);
}

static int nvme_claim(const struct p2pbuf_bind_args *args,
		      struct p2pbuf_error *error)
{
	if (S_ISBLK(args->st.st_mode) && p2pbuf_disk_is_nvme(args->st.st_rdev))
		return 0;
	return p2pbuf_fail(error, ENOTBLK,
			   "%s is not a namespace of an NVMe drive on PCI",
			   args->target);
}

/* BIND's errors that say all without the path. NULL: see the path. */
static const char *bind_text(int code)
{
	switch (code) {
	case EPROTOTYPE:
		return "it is not a namespace of an NVMe drive on PCI";
	case EMLINK:
		return "it is a multipath head (nvme_core.multipath=N shows the paths)";
	case EMEDIUMTYPE:
		return "it is a zoned namespace";
	case EOPNOTSUPP:
		return "it is formatted with metadata beside the blocks";
	case EPROTO:
		return "the running nvme driver does not behave as p2pbuf needs it";
	case EACCES:
		return "it and the dma-buf are not open for either direction";
	case EMFILE:
		return "too many bindings share one open file";
	case EDQUOT:
		return "the tables for it are over the user's RLIMIT_MEMLOCK";
	case ENODEV:
		return "the drive is being unbound from its driver";
	case ENOMEM:
		return "out of memory";
	case EBADFD:
		return "what is to be bound to it is not a dma-buf";
	}
	return NULL;
}

static int bind_failed(const struct p2pbuf_bind_args *args,
		       const struct p2pbuf_nvme_bind *bind, int code,
		       struct p2pbuf_error *error)
{
	char text[200], importer[P2PBUF_BDF_LEN];
	const char *plain, *device = "the buffer's device";

	if (args->buf->exporter)
		device = args->buf->exporter->device;

	switch (bind->path.reason) {
	case P2PBUF_REASON_NONE:
		break;
	case P2PBUF_REASON_EXPORTER:
		/* Nothing was mapped, so the verdict names no device. */
		if (code == EREMOTEIO)
			return p2pbuf_fail(error, code,
					   "%s cannot reach %s, which the buffer never leaves (P2PBUF_VRAM_ONLY); 'p2pbuf why' says what is in the way",
					   args->target, device);
		return p2pbuf_fail(error, code,
				   "the exporter refused to map the buffer for %s: %s",
				   args->target, strerrordesc_np(code));
	case P2PBUF_REASON_NOT_PEER:
		if (!p2pbuf_bind_displaced(args)) {
			p2pbuf_path_describe(&bind->path, text, sizeof(text));
			return p2pbuf_fail(error, code,
					   "%s; P2PBUF_ALLOW_SYSTEM accepts that",
					   text);
		}
		p2pbuf_pci_text(bind->path.importer, importer);
		return p2pbuf_fail(error, code,
				   "the NVMe drive %s cannot reach %s, so the buffer went to host memory and I/O would not be peer to peer; 'p2pbuf why %s %s' says what is in the way",
				   importer, device, device, importer);
	default:
		p2pbuf_path_describe(&bind->path, text, sizeof(text));
		return p2pbuf_fail(error, code, "%s", text);
	}

	switch (code) {
	case ERANGE:
		return p2pbuf_fail(error, code,
				   "%llu bytes from %llu are outside the buffer of %llu bytes",
				   (unsigned long long)args->opts.length,
				   (unsigned long long)args->opts.offset,
				   (unsigned long long)args->buf->length);
	case EDOM:
		return p2pbuf_fail(error, code,
				   "the range to bind, %llu bytes from %llu, is not made of multiples of %u",
				   (unsigned long long)args->opts.length,
				   (unsigned long long)args->opts.offset,
				   P2PBUF_PAGE);
	}
	plain = bind_text(code);
	return p2pbuf_fail(error, code, "cannot bind %s: %s", args->target,
			   plain ? plain : p2pbuf_strerror(code));
}

static void limits_take(struct p2pbuf_limits *limits,
			const struct p2pbuf_nvme_bind *bind)
{
	limits->offset = bind->offset;
	limits->length = bind->length;
	limits->capacity = bind->capacity;
	limits->max_io = bind->max_io;
	/* cqe->res is the byte count and signed. */
	limits->max_len = INT_MAX & ~(uint64_t)(bind->lba_size - 1);
	limits->block_size = bind->lba_size;
	limits->buf_align = 4;	/* PRP1 is in units of double words */
	limits->rights = bind->rights;
	limits->flags = bind->flags;
}

static int nvme_bind(const struct p2pbuf_bind_args *args,
		     struct p2pbuf_binding **out, struct p2pbuf_error *error)
{
	struct p2pbuf_nvme_bind bind = {
		.size = sizeof(bind),
		.flags = args->opts.flags & (P2PBUF_ALLOW_SYSTEM |
					     P2PBUF_PEER_ONLY),
		.dmabuf_fd = args->buf->fd,
		.bdev_fd = args->fd,
		.offset = args->opts.offset,
		.length = args->opts.length,
	};
	struct nvme_binding *binding;
	int ret;

	binding = calloc(1, sizeof(*binding));
	if (!binding)
		return p2pbuf_fail(error, ENOMEM, "out of memory");
	binding->base.backend = &p2pbuf_backend_nvme;
	memcpy(binding->base.target, args->target, sizeof(args->target));

	if (args->opts.sibling) {
		binding->file = to_nvme(args->opts.sibling)->file;
		atomic_fetch_add(&binding->file->refs, 1);
	} else {
		ret = file_open(&binding->file, error);
		if (ret < 0)
			goto free;
	}
	ret = p2pbuf_ioctl(binding->file->fd, P2PBUF_NVME_BIND, &bind);
	if (ret < 0) {
		ret = bind_failed(args, &bind, -ret, error);
		goto put_file;
	}
	binding->id = bind.id;
	limits_take(&binding->base.limits, &bind);
	*out = &binding->base;

	return 0;

put_file:
	file_put(binding->file);
free:
	free(binding);
	return ret;
}

/*
 * Only the fields an SQE of this kind has; the rest is as io_uring_get_sqe()
 * left it, so that user_data and flags may be set before or after.
 */
static void nvme_prep(struct io_uring_sqe *sqe, struct p2pbuf_binding *binding,
		      uint32_t direction, uint64_t buf_off, uint32_t len,
		      uint64_t file_off, uint32_t flags)
{
	struct nvme_binding *nvme = to_nvme(binding);
	struct p2pbuf_nvme_cmd cmd = {
		.dev_offset = file_off,
		.id = nvme->id,
		.flags = flags,
	};

	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = nvme->file->fd;
	sqe->off = 0;
	sqe->cmd_op = direction == P2PBUF_READ ? P2PBUF_NVME_URING_READ :
						 P2PBUF_NVME_URING_WRITE;
	sqe->addr = buf_off;
	sqe->len = len;
	sqe->uring_cmd_flags = 0;
	memcpy(sqe->cmd, &cmd, sizeof(cmd));
}

static int raw_info(struct nvme_binding *nvme, struct p2pbuf_nvme_bind_info *raw)
{
	memset(raw, 0, sizeof(*raw));
	raw->size = sizeof(*raw);
	raw->id = nvme->id;
	return p2pbuf_ioctl(nvme->file->fd, P2PBUF_NVME_BIND_INFO, raw);
}

static int nvme_info(struct p2pbuf_binding *binding,
		     struct p2pbuf_bind_info *info)
{
	struct p2pbuf_nvme_bind_info raw;
	int ret;

	ret = raw_info(to_nvme(binding), &raw);
	if (ret < 0)
		return ret;
	info->path = raw.path;
	info->reads = raw.reads;
	info->writes = raw.writes;
	info->bytes_peer = raw.bytes_peer;
	info->bytes_system = raw.bytes_system;
	info->errors = raw.errors;
	info->deferred = raw.deferred;
	info->invalidations = raw.invalidations;
	info->table_bytes = raw.table_bytes;

	return 0;
}

/* Errors of a completed request that do not depend on the path. */
static const char *io_text(int code)
{
	switch (code) {
	case EIO:
		return "the drive reported an error, or was reset before it had the request";
	case ENODATA:
		return "the drive reported an unrecovered media error";
	case ENODEV:
		return "the drive is gone or unbound from its driver; bind anew";
	case ESTALE:
		return "the namespace was reformatted or resized; bind anew";
	case ETIMEDOUT:
		return "the request timed out, or the drive was reset or removed while it had it";
	case EROFS:
		return "the disk is read-only";
	case EBUSY:
		return "the kernel could not drop the range from the disk's page cache";
	case EREMOTEIO:
		return "the exporter moved the buffer to host memory (P2PBUF_PEER_ONLY)";
	case ENOENT:
		return "the binding was ended";
	case ECANCELED:
		return "the request was canceled, or one it was linked to failed";
	}
	return NULL;
}

/* Did the request fail because the buffer cannot be mapped where it is now? */
static bool is_path_error(int code, const struct p2pbuf_path_info *path)
{
	if (path->path != P2PBUF_PATH_REFUSED)
		return false;
	switch (code) {
	case EFAULT:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case EADDRNOTAVAIL:
	case ENODATA:
		return true;
	}
	return path->reason == P2PBUF_REASON_EXPORTER;
}

static bool nvme_io_error(struct p2pbuf_binding *binding, int code,
			  struct p2pbuf_error *error)
{
	struct p2pbuf_nvme_bind_info raw;
	const char *text = io_text(code);
	char why[200];

	if (!raw_info(to_nvme(binding), &raw) && is_path_error(code, &raw.path)) {
		p2pbuf_path_describe(&raw.path, why, sizeof(why));
		p2pbuf_fail(error, code, "%s: the buffer was moved, and now %s",
			    binding->target, why);
		return true;
	}
	if (!text)
		return false;
	p2pbuf_fail(error, code, "%s: %s", binding->target, text);

	return true;
}

static int nvme_fd(struct p2pbuf_binding *binding)
{
	return to_nvme(binding)->file->fd;
}

static void nvme_unbind(struct p2pbuf_binding *binding)
{
	struct nvme_binding *nvme = to_nvme(binding);
	struct p2pbuf_nvme_unbind args = { .size = sizeof(args), .id = nvme->id };

	p2pbuf_ioctl(nvme->file->fd, P2PBUF_NVME_UNBIND, &args);
	file_put(nvme->file);
	free(nvme);
}

const struct p2pbuf_backend p2pbuf_backend_nvme = {
	.name = "nvme",
	.claim = nvme_claim,
	.bind = nvme_bind,
	.prep = nvme_prep,
	.info = nvme_info,
	.io_error = nvme_io_error,
	.fd = nvme_fd,
	.unbind = nvme_unbind,
};
