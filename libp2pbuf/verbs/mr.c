// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Memory regions of buffers, by ibv_reg_dmabuf_mr().
 *
 * Only public calls of libp2pbuf are used, so that either library can be
 * replaced without the other. What this adds to the verb: addresses that keep
 * the page-offset rule by themselves, the rights of the descriptor, which the
 * kernel's verbs do not look at, the promise that a region is not silently one
 * of host memory, and a reason for each refusal.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <p2pbuf-verbs.h>

#define WRITES	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | \
		 IBV_ACCESS_REMOTE_ATOMIC)

/* Stores the reason and returns -@code. */
__attribute__((format(printf, 3, 4)))
static int fail(struct p2pbuf_error *error, int code, const char *fmt, ...)
{
	const size_t head = offsetof(struct p2pbuf_error, text);
	size_t room;
	va_list ap;

	if (code <= 0)
		code = EIO;
	if (!error || error->size <= head)
		return -code;
	room = error->size - head;
	if (room > sizeof(error->text))
		room = sizeof(error->text);
	error->code = code;
	va_start(ap, fmt);
	vsnprintf(error->text, room, fmt, ap);
	va_end(ap);
	return -code;
}

/* As everywhere: short is EINVAL, unknown bytes that are not zero E2BIG. */
static int opts_in(struct p2pbuf_mr_opts *o, const struct p2pbuf_mr_opts *opts,
		   struct p2pbuf_error *error)
{
	const unsigned int known = P2PBUF_ALLOW_SYSTEM | P2PBUF_MR_IOVA;
	const char *raw = (const char *)opts;
	size_t i;

	memset(o, 0, sizeof(*o));
	if (!opts)
		return 0;
	if (opts->size < sizeof(*o))
		return fail(error, EINVAL, "struct of %zu bytes, at least %zu expected",
			    opts->size, sizeof(*o));
	for (i = sizeof(*o); i < opts->size; i++)
		if (raw[i])
			return fail(error, E2BIG,
				    "the struct's byte %zu is not zero, and not known here",
				    i);
	memcpy(o, opts, sizeof(*o));
	if (o->flags & ~known)
		return fail(error, EINVAL, "unknown flags %#x",
			    o->flags & ~known);
	if (o->pad || (o->iova && !(o->flags & P2PBUF_MR_IOVA)))
		return fail(error, EINVAL,
			    "an address without P2PBUF_MR_IOVA, or padding, is not zero");
	return 0;
}

/* Choose what was left open, and check what was not. */
static int resolve(struct p2pbuf_mr_opts *o, uint64_t size,
		   struct p2pbuf_error *error)
{
	const uint64_t page = sysconf(_SC_PAGESIZE);

	if (o->offset >= size || o->length > size - o->offset)
		return fail(error, ERANGE,
			    "%llu bytes from %llu lie outside a buffer of %llu",
			    (unsigned long long)o->length,
			    (unsigned long long)o->offset,
			    (unsigned long long)size);
	if (!o->length)
		o->length = size - o->offset;
	if (!(o->flags & P2PBUF_MR_IOVA))
		o->iova = o->offset;
	if (o->iova % page != o->offset % page)
		return fail(error, EINVAL,
			    "address %#llx and offset %#llx are not equally far into a page of %llu bytes",
			    (unsigned long long)o->iova,
			    (unsigned long long)o->offset,
			    (unsigned long long)page);
	if (o->iova + o->length < o->iova)
		return fail(error, EINVAL,
			    "%llu bytes from address %#llx go beyond the last address",
			    (unsigned long long)o->length,
			    (unsigned long long)o->iova);
	return 0;
}

static int refused(struct ibv_pd *pd, const struct p2pbuf_mr_opts *o, int code,
		   struct p2pbuf_error *error)
{
	const char *name = ibv_get_device_name(pd->context->device);

	switch (code) {
	case EOPNOTSUPP:
	case EPROTONOSUPPORT:
		return fail(error, EOPNOTSUPP,
			    "%s, its driver or its libibverbs provider cannot register dma-bufs, or not with this access",
			    name);
	case EDQUOT:
		return fail(error, code,
			    "%s pins what it registers, and that is over the user's limit",
			    name);
	case EREMOTEIO:
		return fail(error, code,
			    "%s cannot reach the buffer's device or must pin there, and the buffer cannot be in host memory",
			    name);
	case EBUSY:
		return fail(error, code,
			    "%s needs the buffer in host memory, and it is pinned where it is",
			    name);
	case EINVAL:
		return fail(error, code,
			    "%s does not take %llu bytes from %llu at %#llx with this access",
			    name, (unsigned long long)o->length,
			    (unsigned long long)o->offset,
			    (unsigned long long)o->iova);
	}
	return fail(error, code, "%s cannot register the buffer: %s", name,
		    p2pbuf_strerror(code));
}

/*
 * Is it in host memory, against the caller's will? Then it goes back to where
 * it was, if it can. Of foreign buffers nobody can tell.
 */
static int check_placement(struct ibv_mr **mr, struct p2pbuf_buffer *buf,
			   uint32_t before, struct p2pbuf_error *error)
{
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };
	const char *name = ibv_get_device_name((*mr)->context->device);
	int ret = p2pbuf_query(buf, &info);

	if (!ret && info.placement != P2PBUF_PLACEMENT_SYSTEM)
		return 0;

	ibv_dereg_mr(*mr);
	*mr = NULL;
	if (ret)
		return fail(error, -ret, "cannot tell where the buffer is: %s",
			    p2pbuf_strerror(ret));
	if (before == P2PBUF_PLACEMENT_VRAM)
		p2pbuf_move(buf, before, 0, NULL);
	return fail(error, EREMOTEIO, before == P2PBUF_PLACEMENT_VRAM ?
		    "for %s the buffer had to go to host memory" :
		    "the buffer that %s shall register is in host memory",
		    name);
}

int p2pbuf_reg_mr(struct ibv_pd *pd, struct p2pbuf_buffer *buf, int access,
		  const struct p2pbuf_mr_opts *opts, struct ibv_mr **mr,
		  struct p2pbuf_error *error)
{
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };
	struct p2pbuf_mr_opts o;
	int fd, ret, mode;

	ret = opts_in(&o, opts, error);
	if (ret)
		return ret;
	ret = p2pbuf_query(buf, &info);
	if (ret)
		return fail(error, -ret, "cannot ask about the buffer: %s",
			    p2pbuf_strerror(ret));
	ret = resolve(&o, info.length, error);
	if (ret)
		return ret;

	fd = p2pbuf_export_fd(buf);
	if (fd < 0)
		return fail(error, -fd, "cannot duplicate the buffer's descriptor: %s",
			    p2pbuf_strerror(fd));
	mode = fcntl(fd, F_GETFL) & O_ACCMODE;
	if (mode == O_WRONLY || (mode == O_RDONLY && access & WRITES)) {
		close(fd);
		return fail(error, EACCES, mode == O_WRONLY ?
			    "the buffer may only be written, and every region can be read" :
			    "the buffer may only be read, and this access would write it");
	}
	*mr = ibv_reg_dmabuf_mr(pd, o.offset, o.length, o.iova, fd, access);
	ret = errno;
	close(fd);
	if (!*mr)
		return refused(pd, &o, ret, error);

	/* The address of the first byte, as of any other region. */
	(*mr)->addr = (void *)(uintptr_t)o.iova;
	if (o.flags & P2PBUF_ALLOW_SYSTEM)
		return 0;
	return check_placement(mr, buf, info.placement, error);
}
