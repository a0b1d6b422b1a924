// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * RDMA: an open /dev/p2pbuf-rdma is a connection or a listener, buffers are
 * ids in it, and each request is an IORING_OP_URING_CMD on that file in an SQE
 * of 128 bytes.
 */

#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/ioctl.h>
#include <liburing.h>

#include <linux/p2pbuf_rdma.h>

#include "internal.h"

#define NODE	"/dev/p2pbuf-rdma"

#define CONNECT_MS	10000

_Static_assert(P2PBUF_ALLOW_SYSTEM == P2PBUF_RDMA_IMPORT_ALLOW_SYSTEM, "");
_Static_assert(P2PBUF_READ == P2PBUF_RDMA_RIGHT_READ, "");
_Static_assert(P2PBUF_WRITE == P2PBUF_RDMA_RIGHT_WRITE, "");

struct p2pbuf_rdma {
	int fd;
	uint16_t port;
};

static uint64_t rdma_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

/*
 * A call that waits for @timeout_ms, which is a field of @arg: interrupted, it
 * is made again for what is left of that.
 */
static int rdma_ioctl_within(int fd, unsigned long request, void *arg,
			     uint32_t *timeout_ms)
{
	uint64_t now = rdma_now_ms(), end = now + *timeout_ms;

	while (ioctl(fd, request, arg)) {
		if (errno != EINTR)
			return -errno;
		now = rdma_now_ms();
		*timeout_ms = now < end ? end - now : 0;
	}
	return 0;
}

static int rdma_open(struct p2pbuf_rdma **out, struct p2pbuf_error *error)
{
	struct p2pbuf_rdma *rdma = calloc(1, sizeof(*rdma));
	int ret;

	if (!rdma)
		return p2pbuf_fail(error, ENOMEM, "out of memory");
	rdma->fd = open(NODE, O_RDWR | O_CLOEXEC);
	if (rdma->fd >= 0) {
		*out = rdma;
		return 0;
	}

	switch (errno) {
	case ENOENT:
	case ENXIO:
		ret = p2pbuf_fail(error, ENXIO,
				  "there is no " NODE ": the module p2pbuf_rdma is not loaded");
		break;
	case EACCES:
	case EPERM:
		ret = p2pbuf_fail(error, EPERM,
				  "this process may not open " NODE);
		break;
	default:
		ret = p2pbuf_fail(error, errno, "cannot open " NODE ": %s",
				  strerrordesc_np(errno));
	}
	free(rdma);
	return ret;
}

static int rdma_address(const char *host, uint16_t port,
			struct p2pbuf_rdma_addr *addr,
			struct p2pbuf_error *error)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
	struct sockaddr_in6 *in6;
	struct sockaddr_in *in;
	int ret;

	if (!host)
		return p2pbuf_fail(error, EINVAL, "no address was given");
	ret = getaddrinfo(host, NULL, &hints, &found);
	if (ret)
		return p2pbuf_fail(error, EADDRNOTAVAIL, "%s: %s", host,
				   gai_strerror(ret));
	memset(addr, 0, sizeof(*addr));
	addr->family = found->ai_family;
	addr->port = port;
	if (found->ai_family == AF_INET) {
		in = (struct sockaddr_in *)found->ai_addr;
		memcpy(addr->ip, &in->sin_addr, sizeof(in->sin_addr));
	} else if (found->ai_family == AF_INET6) {
		in6 = (struct sockaddr_in6 *)found->ai_addr;
		addr->scope_id = in6->sin6_scope_id;
		memcpy(addr->ip, &in6->sin6_addr, sizeof(in6->sin6_addr));
	}
	freeaddrinfo(found);
	return 0;
}

/* A sentence for the errors that making a connection has to itself. */
static int rdma_refused(const char *what, int code, struct p2pbuf_error *error)
{
	switch (code) {
	case ECONNREFUSED:
		return p2pbuf_fail(error, code,
				   "%s: nobody listens there, or who does is busy or speaks another version",
				   what);
	case EOPNOTSUPP:
		return p2pbuf_fail(error, code,
				   "%s: the RDMA device has no fast registration, or is iWARP",
				   what);
	case ETIMEDOUT:
		return p2pbuf_fail(error, code, "%s: nobody came in time",
				   what);
	case ENODEV:
	case EADDRNOTAVAIL:
		return p2pbuf_fail(error, code,
				   "%s: no RDMA device has this address or a way to it",
				   what);
	}
	return p2pbuf_fail(error, code, "%s: %s", what,
			   strerrordesc_np(code) ?: "unknown error");
}

int p2pbuf_rdma_listen(const char *host, uint16_t port,
		       struct p2pbuf_rdma **listener,
		       struct p2pbuf_error *error)
{
	struct p2pbuf_rdma_listen arg = { .size = sizeof(arg) };
	struct p2pbuf_rdma *rdma;
	int ret;

	if (!listener)
		return p2pbuf_fail(error, EINVAL, "no place for the listener");
	ret = rdma_address(host, port, &arg.addr, error);
	if (!ret)
		ret = rdma_open(&rdma, error);
	if (ret)
		return ret;
	ret = p2pbuf_ioctl(rdma->fd, P2PBUF_RDMA_LISTEN, &arg);
	if (ret < 0) {
		p2pbuf_rdma_close(rdma);
		return rdma_refused(host, -ret, error);
	}
	rdma->port = arg.addr.port;
	*listener = rdma;
	return 0;
}

int p2pbuf_rdma_port(struct p2pbuf_rdma *listener)
{
	return listener->port;
}

static int rdma_opts(struct p2pbuf_rdma_opts *opts,
		     const struct p2pbuf_rdma_opts *from,
		     struct p2pbuf_error *error)
{
	int ret = p2pbuf_struct_in(opts, sizeof(*opts), from, sizeof(*opts),
				   error);

	if (!ret && opts->pad)
		return p2pbuf_fail(error, EINVAL, "padding is not zero");
	return ret;
}

int p2pbuf_rdma_accept(struct p2pbuf_rdma *listener,
		       const struct p2pbuf_rdma_opts *opts,
		       struct p2pbuf_rdma **connection,
		       struct p2pbuf_error *error)
{
	struct p2pbuf_rdma_accept arg = { .size = sizeof(arg) };
	struct p2pbuf_rdma_opts known;
	struct p2pbuf_rdma *rdma;
	int ret;

	if (!listener || !connection)
		return p2pbuf_fail(error, EINVAL, "no listener or no place for the connection");
	ret = rdma_opts(&known, opts, error);
	if (!ret)
		ret = rdma_open(&rdma, error);
	if (ret)
		return ret;
	arg.listen_fd = listener->fd;
	arg.timeout_ms = known.timeout_ms;
	arg.limits.recall_ms = known.recall_ms;
	arg.limits.wait_ms = known.wait_ms;
	ret = rdma_ioctl_within(rdma->fd, P2PBUF_RDMA_ACCEPT, &arg,
				&arg.timeout_ms);
	if (ret < 0) {
		p2pbuf_rdma_close(rdma);
		return rdma_refused("accepting", -ret, error);
	}
	*connection = rdma;
	return 0;
}

int p2pbuf_rdma_connect(const char *host, uint16_t port,
			const struct p2pbuf_rdma_opts *opts,
			struct p2pbuf_rdma **connection,
			struct p2pbuf_error *error)
{
	struct p2pbuf_rdma_connect arg = { .size = sizeof(arg) };
	struct p2pbuf_rdma_opts known;
	struct p2pbuf_rdma *rdma;
	int ret;

	if (!connection)
		return p2pbuf_fail(error, EINVAL, "no place for the connection");
	ret = rdma_opts(&known, opts, error);
	if (!ret)
		ret = rdma_address(host, port, &arg.addr, error);
	if (!ret)
		ret = rdma_open(&rdma, error);
	if (ret)
		return ret;
	arg.timeout_ms = known.timeout_ms ? known.timeout_ms : CONNECT_MS;
	arg.limits.recall_ms = known.recall_ms;
	arg.limits.wait_ms = known.wait_ms;
	ret = p2pbuf_ioctl(rdma->fd, P2PBUF_RDMA_CONNECT, &arg);
	if (ret < 0) {
		p2pbuf_rdma_close(rdma);
		return rdma_refused(host, -ret, error);
	}
	*connection = rdma;
	return 0;
}

int p2pbuf_rdma_fd(struct p2pbuf_rdma *rdma)
{
	return rdma->fd;
}

void p2pbuf_rdma_close(struct p2pbuf_rdma *rdma)
{
	struct p2pbuf_rdma_shutdown arg = { .size = sizeof(arg) };

	if (!rdma)
		return;
	/* Requests that are under way keep the file open. */
	p2pbuf_ioctl(rdma->fd, P2PBUF_RDMA_SHUTDOWN, &arg);
	close(rdma->fd);
	free(rdma);
}

/* ---- buffers ---- */

static int attach_failed(const struct p2pbuf_rdma_import *arg, int code,
			 struct p2pbuf_error *error)
{
	char text[200];

	switch (arg->path.reason) {
	case P2PBUF_REASON_NONE:
		break;
	case P2PBUF_REASON_EXPORTER:
		return p2pbuf_fail(error, code,
				   "the exporter refused to map the buffer: %s",
				   strerrordesc_np(code));
	case P2PBUF_REASON_NOT_PEER:
		return p2pbuf_fail(error, code,
				   "the buffer lies in host memory; P2PBUF_ALLOW_SYSTEM accepts that");
	default:
		p2pbuf_path_describe(&arg->path, text, sizeof(text));
		return p2pbuf_fail(error, code, "%s", text);
	}
	switch (code) {
	case EEXIST:
		return p2pbuf_fail(error, code, "the id %u is in use",
				   arg->id);
	case EFBIG:
		return p2pbuf_fail(error, code,
				   "the buffer takes more registrations than one may");
	case EOPNOTSUPP:
		return p2pbuf_fail(error, code,
				   "the RDMA device copies with the CPU, and this memory has no pages");
	case ENOTCONN:
		return p2pbuf_fail(error, code, "the connection has ended");
	}
	return p2pbuf_fail(error, code, "%s", p2pbuf_strerror(code));
}

int p2pbuf_rdma_attach(struct p2pbuf_rdma *rdma, struct p2pbuf_buffer *buf,
		       const struct p2pbuf_rdma_attach_opts *opts,
		       struct p2pbuf_error *error)
{
	struct p2pbuf_rdma_import arg = { .size = sizeof(arg) };
	struct p2pbuf_rdma_attach_opts known;
	int ret;

	if (!rdma || !buf)
		return p2pbuf_fail(error, EINVAL, "no connection or no buffer");
	ret = p2pbuf_struct_in(&known, sizeof(known), opts,
			       offsetof(struct p2pbuf_rdma_attach_opts, length) +
			       sizeof(known.length), error);
	if (ret)
		return ret;
	arg.flags = known.flags;
	arg.dmabuf_fd = buf->fd;
	arg.id = known.id;
	arg.offset = known.offset;
	arg.length = known.length;
	ret = p2pbuf_ioctl(rdma->fd, P2PBUF_RDMA_IMPORT, &arg);
	return ret < 0 ? attach_failed(&arg, -ret, error) : (int)arg.id;
}

int p2pbuf_rdma_detach(struct p2pbuf_rdma *rdma, uint32_t id)
{
	struct p2pbuf_rdma_release arg = { .size = sizeof(arg), .id = id };

	return p2pbuf_ioctl(rdma->fd, P2PBUF_RDMA_RELEASE, &arg);
}

int p2pbuf_rdma_grant(struct p2pbuf_rdma *rdma, uint32_t id, uint32_t rights)
{
	struct p2pbuf_rdma_grant arg = {
		.size = sizeof(arg), .id = id, .rights = rights,
	};

	return p2pbuf_ioctl(rdma->fd, P2PBUF_RDMA_GRANT, &arg);
}

int p2pbuf_rdma_recall(struct p2pbuf_rdma *rdma, uint32_t id)
{
	struct p2pbuf_rdma_recall arg = { .size = sizeof(arg), .id = id };

	return p2pbuf_ioctl(rdma->fd, P2PBUF_RDMA_RECALL, &arg);
}

int p2pbuf_rdma_wait(struct p2pbuf_rdma *rdma, uint32_t id, uint32_t timeout_ms,
		     uint64_t *length, uint32_t *rights)
{
	struct p2pbuf_rdma_remote_info arg = {
		.size = sizeof(arg), .id = id, .timeout_ms = timeout_ms,
	};
	int ret = rdma_ioctl_within(rdma->fd, P2PBUF_RDMA_REMOTE_INFO, &arg,
				    &arg.timeout_ms);

	if (ret < 0)
		return ret;
	if (length)
		*length = arg.length;
	if (rights)
		*rights = arg.rights;
	return 0;
}

int p2pbuf_rdma_stats(struct p2pbuf_rdma *rdma,
		      struct p2pbuf_rdma_stats *stats)
{
	struct p2pbuf_rdma_info arg = { .size = sizeof(arg) };
	struct p2pbuf_rdma_stats out = { .size = sizeof(out) };
	int ret = p2pbuf_ioctl(rdma->fd, P2PBUF_RDMA_INFO, &arg);

	if (ret < 0)
		return ret;
	out.error = arg.state == P2PBUF_RDMA_DEAD ? arg.error : 0;
	out.reads = arg.reads;
	out.writes = arg.writes;
	out.bytes = arg.bytes;
	out.errors = arg.errors;
	out.parked = arg.parkings;
	out.recalls = arg.recalls_sent + arg.recalls_received;
	snprintf(out.device, sizeof(out.device), "%s", (char *)arg.device);
	return p2pbuf_struct_out(stats, &out, sizeof(out), sizeof(out));
}

/* ---- requests ---- */

/*
 * Only the fields an SQE of this kind has; user_data and flags may be set
 * before or after.
 */
static void rdma_prep(struct io_uring_sqe *sqe, struct p2pbuf_rdma *rdma,
		      uint32_t op, const struct p2pbuf_rdma_cmd *cmd)
{
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = rdma->fd;
	sqe->off = 0;
	sqe->cmd_op = op;
	sqe->addr = 0;
	sqe->len = 0;
	sqe->uring_cmd_flags = 0;
	/* The second half of the SQE, which liburing does not clear. */
	memset(sqe->cmd, 0, 80);
	memcpy(sqe->cmd, cmd, sizeof(*cmd));
}

static int rdma_prep_data(struct io_uring_sqe *sqe, struct p2pbuf_rdma *rdma,
			  uint32_t op, const struct p2pbuf_rdma_range *range,
			  uint32_t flags, uint32_t imm)
{
	struct p2pbuf_rdma_cmd cmd = {
		.local_id = range->local_id,
		.remote_id = range->remote_id,
		.local_offset = range->local_offset,
		.remote_offset = range->remote_offset,
		.length = range->length,
		.flags = flags,
		.imm = imm,
	};

	if (!range->length || range->length > P2PBUF_RDMA_MAX_LENGTH)
		return -EDOM;
	rdma_prep(sqe, rdma, op, &cmd);
	return 0;
}

int p2pbuf_rdma_prep_read(struct io_uring_sqe *sqe, struct p2pbuf_rdma *rdma,
			  const struct p2pbuf_rdma_range *range,
			  uint32_t flags)
{
	if (flags & ~P2PBUF_FLUSH)
		return -EINVAL;
	return rdma_prep_data(sqe, rdma, P2PBUF_RDMA_URING_READ, range,
			      flags & P2PBUF_FLUSH ? P2PBUF_RDMA_FLUSH : 0, 0);
}

int p2pbuf_rdma_prep_write(struct io_uring_sqe *sqe, struct p2pbuf_rdma *rdma,
			   const struct p2pbuf_rdma_range *range)
{
	return rdma_prep_data(sqe, rdma, P2PBUF_RDMA_URING_WRITE, range, 0, 0);
}

int p2pbuf_rdma_prep_write_imm(struct io_uring_sqe *sqe,
			       struct p2pbuf_rdma *rdma,
			       const struct p2pbuf_rdma_range *range,
			       uint32_t imm)
{
	if (imm >> P2PBUF_RDMA_IMM_BITS)
		return -EINVAL;
	return rdma_prep_data(sqe, rdma, P2PBUF_RDMA_URING_WRITE_IMM, range, 0,
			      imm);
}

int p2pbuf_rdma_prep_flush(struct io_uring_sqe *sqe, struct p2pbuf_rdma *rdma,
			   uint32_t remote_id, uint64_t remote_offset)
{
	const struct p2pbuf_rdma_cmd cmd = {
		.remote_id = remote_id,
		.remote_offset = remote_offset,
	};

	rdma_prep(sqe, rdma, P2PBUF_RDMA_URING_FLUSH, &cmd);
	return 0;
}

int p2pbuf_rdma_prep_recv(struct io_uring_sqe *sqe, struct p2pbuf_rdma *rdma)
{
	const struct p2pbuf_rdma_cmd cmd = {};

	rdma_prep(sqe, rdma, P2PBUF_RDMA_URING_RECV, &cmd);
	return 0;
}

int p2pbuf_rdma_cancel(struct p2pbuf_rdma *rdma, uint64_t user_data)
{
	struct p2pbuf_rdma_cancel arg = {
		.size = sizeof(arg), .user_data = user_data,
	};

	return p2pbuf_ioctl(rdma->fd, P2PBUF_RDMA_CANCEL, &arg);
}
