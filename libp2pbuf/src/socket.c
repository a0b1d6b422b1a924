// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Buffers over UNIX sockets.
 *
 * Every descriptor that the kernel installs for a received message is put in
 * struct arrival first and leaves it in one of two ways: the buffer takes it,
 * or arrival_end() closes it. Whatever the peer sends, no descriptor stays.
 */

#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "msg.h"

#ifndef SCM_PIDFD
#define SCM_PIDFD	0x04
#endif

/* SCM_MAX_FD of the kernel: a message never carries more. */
#define MAX_FDS		253
/* Room for what socket options of the caller may add. */
#define CONTROL_EXTRA	512

struct arrival {
	int fds[MAX_FDS];
	unsigned int nfds;
	struct ucred cred;
	bool has_cred;
};

static void arrival_end(struct arrival *in)
{
	while (in->nfds)
		close(in->fds[--in->nfds]);
}

static int socket_check(int sock, struct p2pbuf_error *error)
{
	socklen_t len = sizeof(int);
	int domain;

	if (getsockopt(sock, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
		return p2pbuf_fail(error, errno, "descriptor %d: %s", sock,
				   strerrordesc_np(errno));
	if (domain != AF_UNIX)
		return p2pbuf_fail(error, EAFNOSUPPORT,
				   "a descriptor passes over UNIX sockets only");
	return 0;
}

/* What both directions ask of their arguments; @meta goes to @m. */
static int request_check(int sock, const struct p2pbuf_meta *meta,
			 struct p2pbuf_meta *m, struct p2pbuf_error *error)
{
	const uint32_t both = P2PBUF_ANY_UID | P2PBUF_ONLY_UID;
	int ret;

	ret = p2pbuf_struct_in(m, sizeof(*m), meta, sizeof(*m), error);
	if (ret < 0)
		return ret;
	if (m->flags & ~both || (m->flags & both) == both)
		return p2pbuf_fail(error, EINVAL,
				   "unknown or contradicting flags %#x",
				   m->flags);
	return socket_check(sock, error);
}

/* Is this the peer the caller wants to deal with? */
static int peer_check(const struct ucred *cred, const struct p2pbuf_meta *meta,
		      struct p2pbuf_error *error)
{
	if (meta->flags & P2PBUF_ANY_UID)
		return 0;
	if (cred->uid == (uid_t)-1)
		return p2pbuf_fail(error, EPERM,
				   "the kernel does not tell who the peer is");
	if (meta->flags & P2PBUF_ONLY_UID ? cred->uid == meta->uid :
	    cred->uid == geteuid() || cred->uid == 0)
		return 0;

	return p2pbuf_fail(error, EPERM,
			   "the peer, process %d, belongs to user %u",
			   cred->pid, cred->uid);
}

/* Who was at the other end when it was connected. */
static int peer_read(int sock, struct ucred *cred, struct p2pbuf_error *error)
{
	socklen_t len = sizeof(*cred);

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, cred, &len) < 0)
		return p2pbuf_fail(error, errno, "cannot tell who the peer is: %s",
				   strerrordesc_np(errno));
	return 0;
}

static int socket_failed(int code, struct p2pbuf_error *error)
{
	if (code == EPIPE || code == ECONNRESET || code == ECONNREFUSED)
		return p2pbuf_fail(error, EPIPE, "the peer is gone");
	return p2pbuf_fail(error, code, "the socket: %s", strerrordesc_np(code));
}

int p2pbuf_send(int sock, struct p2pbuf_buffer *buf,
		const struct p2pbuf_meta *meta, struct p2pbuf_error *error)
{
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct p2pbuf_meta m;
	struct p2pbuf_msg msg;
	struct iovec iov = { .iov_base = &msg, .iov_len = sizeof(msg) };
	struct msghdr hdr = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&hdr);
	struct ucred cred;
	ssize_t n;
	int ret;

	ret = request_check(sock, meta, &m, error);
	if (ret < 0)
		return ret;
	ret = peer_read(sock, &cred, error);
	if (ret < 0)
		return ret;
	ret = peer_check(&cred, &m, error);
	if (ret < 0)
		return ret;
	ret = p2pbuf_query(buf, &info);
	if (ret < 0)
		return p2pbuf_fail(error, -ret, "the buffer: %s",
				   p2pbuf_strerror(ret));
	ret = p2pbuf_msg_make(&msg, buf->length, info.generation, &m, error);
	if (ret < 0)
		return ret;

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &buf->fd, sizeof(int));
	n = sendmsg(sock, &hdr, MSG_NOSIGNAL);
	if (n < 0)
		return socket_failed(errno, error);
	if ((size_t)n != sizeof(msg))
		return p2pbuf_fail(error, EMSGSIZE,
				   "the socket took only %zd bytes of the message",
				   n);
	return 0;
}

static void take_fds(struct arrival *in, const struct cmsghdr *cmsg)
{
	size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int), i;

	for (i = 0; i < n && in->nfds < MAX_FDS; i++)
		memcpy(&in->fds[in->nfds++],
		       CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
}

/* One message with all that came along; its bytes, or -errno. */
static ssize_t receive(int sock, struct p2pbuf_msg *msg, struct arrival *in,
		       struct p2pbuf_error *error)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(MAX_FDS * sizeof(int)) +
			   CMSG_SPACE(sizeof(struct ucred)) + CONTROL_EXTRA];
	} control;
	struct iovec iov = { .iov_base = msg, .iov_len = sizeof(*msg) };
	struct msghdr hdr = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *cmsg;
	int pidfd;
	ssize_t n;

	n = recvmsg(sock, &hdr, MSG_CMSG_CLOEXEC | MSG_WAITALL);
	if (n < 0)
		return socket_failed(errno, error);

	for (cmsg = CMSG_FIRSTHDR(&hdr); cmsg; cmsg = CMSG_NXTHDR(&hdr, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET)
			continue;
		if (cmsg->cmsg_type == SCM_RIGHTS) {
			take_fds(in, cmsg);
		} else if (cmsg->cmsg_type == SCM_CREDENTIALS &&
			   cmsg->cmsg_len == CMSG_LEN(sizeof(in->cred))) {
			memcpy(&in->cred, CMSG_DATA(cmsg), sizeof(in->cred));
			in->has_cred = true;
		} else if (cmsg->cmsg_type == SCM_PIDFD &&
			   cmsg->cmsg_len == CMSG_LEN(sizeof(pidfd))) {
			/* The socket's owner asked for it; not a buffer. */
			memcpy(&pidfd, CMSG_DATA(cmsg), sizeof(pidfd));
			if (pidfd >= 0)
				close(pidfd);
		}
	}

	if (!n)
		return p2pbuf_fail(error, EPIPE, "the peer is gone");
	if (hdr.msg_flags & MSG_TRUNC)
		return p2pbuf_fail(error, EMSGSIZE,
				   "the message has more than %zu bytes",
				   sizeof(*msg));
	/* There was room for all: the kernel could not install some. */
	if (hdr.msg_flags & MSG_CTRUNC)
		return p2pbuf_fail(error, EMFILE,
				   "the kernel could not install the descriptor: too many open files");
	return n;
}

static int take_buffer(struct arrival *in, const struct p2pbuf_meta *meta,
		       struct p2pbuf_buffer **out, struct p2pbuf_error *error)
{
	struct p2pbuf_buffer *buf;
	int ret;

	/* The descriptor belongs to the buffer now, or is closed. */
	ret = p2pbuf_buffer_adopt(in->fds[--in->nfds], &buf, error);
	if (ret < 0)
		return ret;
	if (buf->length != meta->buffer_length) {
		ret = p2pbuf_fail(error, ERANGE,
				  "the message speaks of %llu bytes, the buffer has %llu",
				  (unsigned long long)meta->buffer_length,
				  (unsigned long long)buf->length);
		p2pbuf_free(buf);
		return ret;
	}
	*out = buf;

	return 0;
}

int p2pbuf_recv(int sock, struct p2pbuf_buffer **out, struct p2pbuf_meta *meta,
		struct p2pbuf_error *error)
{
	struct arrival in = { .nfds = 0 };
	struct p2pbuf_buffer *buf = NULL;
	struct p2pbuf_meta m;
	struct p2pbuf_msg msg;
	ssize_t n;
	int ret;

	ret = request_check(sock, meta, &m, error);
	if (ret < 0)
		return ret;

	n = receive(sock, &msg, &in, error);
	if (n < 0) {
		ret = n;
		goto end;
	}
	/* Credentials with the message are nearer than those of connect(). */
	if (!in.has_cred) {
		ret = peer_read(sock, &in.cred, error);
		if (ret < 0)
			goto end;
	}
	ret = peer_check(&in.cred, &m, error);
	if (ret < 0)
		goto end;
	ret = p2pbuf_msg_parse(&msg, n, in.nfds, &m, error);
	if (ret < 0)
		goto end;
	ret = take_buffer(&in, &m, &buf, error);
	if (ret < 0)
		goto end;

	m.uid = in.cred.uid;
	m.gid = in.cred.gid;
	m.pid = in.cred.pid;
	if (meta)
		p2pbuf_struct_out(meta, &m, sizeof(m), sizeof(m));
	*out = buf;
end:
	arrival_end(&in);
	return ret;
}
