// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Bindings: choose the way of doing I/O (the first backend that claims the
 * file), and judge each request before it becomes an SQE. How the I/O is done
 * is the backends' business.
 */

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

static const struct p2pbuf_backend *const backends[] = {
	&p2pbuf_backend_nvme,
	&p2pbuf_backend_file,
};

static void name_target(int fd, char *name, size_t size)
{
	char link[32];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name, size - 1);
	if (n > 0)
		name[n] = '\0';
	else
		snprintf(name, size, "descriptor %d", fd);
}

static int args_take(struct p2pbuf_bind_args *args,
		     const struct p2pbuf_bind_opts *opts,
		     struct p2pbuf_error *error)
{
	const uint32_t both = P2PBUF_ALLOW_SYSTEM | P2PBUF_PEER_ONLY;
	const uint32_t known = both | P2PBUF_SLOT | P2PBUF_NOMERGES;
	int ret;

	ret = p2pbuf_struct_in(&args->opts, sizeof(args->opts), opts,
			       sizeof(args->opts), error);
	if (ret < 0)
		return ret;
	if (args->opts.flags & ~known)
		return p2pbuf_fail(error, EINVAL, "unknown flags %#x",
				   args->opts.flags & ~known);
	if (args->opts.slot && !(args->opts.flags & P2PBUF_SLOT))
		return p2pbuf_fail(error, EINVAL,
				   "slot %u is named without P2PBUF_SLOT",
				   args->opts.slot);
	if (args->opts.slot >= P2PBUF_SLOTS)
		return p2pbuf_fail(error, EINVAL,
				   "slot %u is beyond the %u that a ring's buffer table may have",
				   args->opts.slot, P2PBUF_SLOTS);
	if ((args->opts.flags & both) == both)
		return p2pbuf_fail(error, EINVAL,
				   "P2PBUF_ALLOW_SYSTEM and P2PBUF_PEER_ONLY exclude each other");
	if (fstat(args->fd, &args->st) < 0)
		return p2pbuf_fail(error, errno, "descriptor %d: %s", args->fd,
				   strerrordesc_np(errno));
	name_target(args->fd, args->target, sizeof(args->target));

	args->before.size = sizeof(args->before);
	ret = p2pbuf_query(args->buf, &args->before);
	if (ret < 0)
		return p2pbuf_fail(error, -ret, "the buffer: %s",
				   p2pbuf_strerror(ret));
	return 0;
}

bool p2pbuf_bind_displaced(const struct p2pbuf_bind_args *args)
{
	struct p2pbuf_buffer_info now = { .size = sizeof(now) };

	return args->before.placement == P2PBUF_PLACEMENT_VRAM &&
	       !p2pbuf_query(args->buf, &now) &&
	       now.placement == P2PBUF_PLACEMENT_SYSTEM &&
	       now.evictions > args->before.evictions;
}

int p2pbuf_bind(struct io_uring *ring, struct p2pbuf_buffer *buf, int fd,
		const struct p2pbuf_bind_opts *opts,
		struct p2pbuf_binding **binding, struct p2pbuf_error *error)
{
	struct p2pbuf_bind_args args = { .ring = ring, .buf = buf, .fd = fd };
	const struct p2pbuf_backend *backend = NULL;
	const size_t last = sizeof(backends) / sizeof(backends[0]) - 1;
	size_t i;
	int ret;

	ret = args_take(&args, opts, error);
	if (ret < 0)
		return ret;
	for (i = 0; !backend && i <= last; i++) {
		/* That one does not want it is no failure if another does. */
		ret = backends[i]->claim(&args, i < last ? NULL : error);
		if (!ret)
			backend = backends[i];
	}
	if (!backend)
		return ret;
	if (args.opts.sibling && args.opts.sibling->backend != backend)
		return p2pbuf_fail(error, EINVAL,
				   "the sibling is a binding of another kind");

	ret = backend->bind(&args, binding, error);
	/*
	 * A refused importer was attached for a moment, and its exporter may
	 * have made way for it: undo that, or a refusal would leave a trace.
	 */
	if (ret < 0 && p2pbuf_bind_displaced(&args))
		p2pbuf_move(buf, P2PBUF_PLACEMENT_VRAM, 0, NULL);

	return ret;
}

int p2pbuf_bind_info(struct p2pbuf_binding *binding,
		     struct p2pbuf_bind_info *info)
{
	const struct p2pbuf_limits *limits = &binding->limits;
	struct p2pbuf_bind_info mine = {
		.flags = limits->flags,
		.rights = limits->rights,
		.offset = limits->offset,
		.length = limits->length,
		.capacity = limits->capacity,
		.block_size = limits->block_size,
		.buf_align = limits->buf_align,
		.max_io = limits->max_io,
		.max_len = limits->max_len,
	};
	int ret;

	ret = binding->backend->info(binding, &mine);
	if (ret < 0)
		return ret;
	snprintf(mine.backend, sizeof(mine.backend), "%s",
		 binding->backend->name);
	if (!mine.why[0])
		p2pbuf_path_describe(&mine.path, mine.why, sizeof(mine.why));

	return p2pbuf_struct_out(info, &mine, sizeof(mine), sizeof(mine));
}

int p2pbuf_bind_fd(struct p2pbuf_binding *binding)
{
	return binding->backend->fd(binding);
}

void p2pbuf_unbind(struct p2pbuf_binding *binding)
{
	if (binding)
		binding->backend->unbind(binding);
}

static int judge_direction(const struct p2pbuf_binding *binding,
			   uint32_t direction, uint32_t flags,
			   struct p2pbuf_error *error)
{
	uint32_t known = direction == P2PBUF_READ ? P2PBUF_FLUSH : P2PBUF_FUA;

	if (direction != P2PBUF_READ && direction != P2PBUF_WRITE)
		return p2pbuf_fail(error, EINVAL,
				   "a request either reads or writes");
	if (flags & ~known)
		return p2pbuf_fail(error, EINVAL, "unknown flags %#x on a %s",
				   flags & ~known,
				   direction == P2PBUF_READ ? "read" : "write");
	if (flags & P2PBUF_FLUSH && binding->limits.no_flush)
		return p2pbuf_fail(error, EOPNOTSUPP,
				   "a read of %s cannot flush: p2pbuf_flush() does, after its CQE",
				   binding->target);
	if (!(binding->limits.rights & direction))
		return p2pbuf_fail(error, EACCES,
				   "%s or the dma-buf is not open for %s",
				   binding->target,
				   direction == P2PBUF_READ ?
				   "reading into the buffer" :
				   "writing from the buffer");
	return 0;
}

/* Units are powers of two. */
static bool aligned(uint64_t value, uint32_t unit)
{
	return !(value & (unit - 1));
}

static int judge_range(const struct p2pbuf_binding *binding, uint64_t buf_off,
		       uint64_t len, uint64_t file_off,
		       struct p2pbuf_error *error)
{
	const struct p2pbuf_limits *l = &binding->limits;

	if (!len || !aligned(len, l->block_size))
		return p2pbuf_fail(error, EINVAL,
				   "a length of %llu bytes is not a multiple of %u on %s",
				   (unsigned long long)len, l->block_size,
				   binding->target);
	if (!aligned(file_off, l->block_size))
		return p2pbuf_fail(error, EINVAL,
				   "offset %llu on %s is not a multiple of %u",
				   (unsigned long long)file_off,
				   binding->target, l->block_size);
	if (!aligned(buf_off, l->buf_align))
		return p2pbuf_fail(error, EINVAL,
				   "offset %llu in the buffer is not a multiple of %u",
				   (unsigned long long)buf_off, l->buf_align);
	if (len > l->max_len)
		return p2pbuf_fail(error, EMSGSIZE,
				   "one request moves at most %llu bytes",
				   (unsigned long long)l->max_len);
	if (buf_off > l->length || len > l->length - buf_off)
		return p2pbuf_fail(error, ERANGE,
				   "%llu bytes from %llu are outside the bound range of %llu bytes",
				   (unsigned long long)len,
				   (unsigned long long)buf_off,
				   (unsigned long long)l->length);
	if (file_off > l->capacity || len > l->capacity - file_off)
		return p2pbuf_fail(error, ERANGE,
				   "%llu bytes from %llu are outside %s, which has %llu",
				   (unsigned long long)len,
				   (unsigned long long)file_off,
				   binding->target,
				   (unsigned long long)l->capacity);
	return 0;
}

int p2pbuf_check(struct p2pbuf_binding *binding, uint32_t direction,
		 uint64_t buf_off, uint64_t len, uint64_t file_off,
		 uint32_t flags, struct p2pbuf_error *error)
{
	int ret;

	ret = judge_direction(binding, direction, flags, error);
	if (ret < 0)
		return ret;
	return judge_range(binding, buf_off, len, file_off, error);
}

static int prep(struct io_uring_sqe *sqe, struct p2pbuf_binding *binding,
		uint32_t direction, uint64_t buf_off, uint64_t len,
		uint64_t file_off, uint32_t flags)
{
	int ret;

	ret = p2pbuf_check(binding, direction, buf_off, len, file_off, flags,
			   NULL);
	if (ret < 0)
		return ret;
	binding->backend->prep(sqe, binding, direction, buf_off, len, file_off,
			       flags);
	return 0;
}

int p2pbuf_prep_read(struct io_uring_sqe *sqe, struct p2pbuf_binding *binding,
		     uint64_t buf_off, uint64_t len, uint64_t file_off,
		     uint32_t flags)
{
	return prep(sqe, binding, P2PBUF_READ, buf_off, len, file_off, flags);
}

int p2pbuf_prep_write(struct io_uring_sqe *sqe, struct p2pbuf_binding *binding,
		      uint64_t buf_off, uint64_t len, uint64_t file_off,
		      uint32_t flags)
{
	return prep(sqe, binding, P2PBUF_WRITE, buf_off, len, file_off, flags);
}

void p2pbuf_explain(struct p2pbuf_binding *binding, int res,
		    struct p2pbuf_error *error)
{
	if (res >= 0)
		p2pbuf_fail(error, 0, "%s: no error", binding->target);
	else if (!binding->backend->io_error(binding, -res, error))
		p2pbuf_fail(error, -res, "%s: %s", binding->target,
			    p2pbuf_strerror(res));
}
