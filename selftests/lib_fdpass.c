// SPDX-License-Identifier: GPL-2.0
/*
 * p2pbuf_send() and p2pbuf_recv(): what arrives, each way a message can be
 * wrong, who may send it, and that no descriptor ever stays behind.
 *
 * The message is laid out here once more, from p2pbuf_send(3), so that a
 * change of the wire format is noticed.
 */

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "p2pbuf_test_lib.h"
#include "kselftest_harness.h"

#define SIZE		(256 * 1024)
#define NOBODY		65534

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD	76
#endif

struct wire {
	uint32_t magic;
	uint16_t version;
	uint16_t size;
	uint64_t offset;
	uint64_t length;
	uint64_t buffer_length;
	uint64_t generation;
	char name[64];
	uint64_t reserved[3];
};

_Static_assert(sizeof(struct wire) == 128, "the wire format is fixed");

static const struct wire good = {
	.magic = 0x42503250,
	.version = 1,
	.size = sizeof(struct wire),
	.offset = 4096,
	.length = 8192,
	.buffer_length = SIZE,
	.generation = 7,
	.name = "weights",
};

/* @len bytes with @nfds times @fd beside them; what sendmsg() returned. */
static ssize_t send_raw(int sock, const void *bytes, size_t len, int fd,
			unsigned int nfds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(253 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)bytes, .iov_len = len };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;
	unsigned int i;

	if (nfds) {
		hdr.msg_control = control.bytes;
		hdr.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&hdr);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		for (i = 0; i < nfds; i++)
			memcpy(CMSG_DATA(cmsg) + i * sizeof(int), &fd,
			       sizeof(int));
	}
	return sendmsg(sock, &hdr, MSG_NOSIGNAL);
}

FIXTURE(fdpass)
{
	int dmabuf;
	int sock[2];
	int fds;
	struct p2pbuf_buffer *buf;
	struct p2pbuf_meta meta;
	struct p2pbuf_error error;
};

FIXTURE_VARIANT(fdpass)
{
	int type;
};

FIXTURE_VARIANT_ADD(fdpass, seqpacket) { .type = SOCK_SEQPACKET };
FIXTURE_VARIANT_ADD(fdpass, stream) { .type = SOCK_STREAM };
FIXTURE_VARIANT_ADD(fdpass, dgram) { .type = SOCK_DGRAM };

FIXTURE_SETUP(fdpass)
{
	self->dmabuf = ptk_udmabuf(SIZE);
	if (self->dmabuf < 0)
		SKIP(return, "no udmabuf: %s", strerror(-self->dmabuf));
	ASSERT_EQ(0, socketpair(AF_UNIX, variant->type, 0, self->sock));
	self->meta.size = sizeof(self->meta);
	self->error.size = sizeof(self->error);
	self->fds = ptl_count_fds();
}

/* Nothing more is open than before the test, whatever the test did. */
FIXTURE_TEARDOWN(fdpass)
{
	p2pbuf_free(self->buf);
	if (self->fds)
		EXPECT_EQ(self->fds, ptl_count_fds());
	close(self->sock[0]);
	close(self->sock[1]);
	close(self->dmabuf);
}

#define EXPECT_REFUSED(err, call) do {					\
	EXPECT_EQ(-(err), (call));					\
	EXPECT_EQ((err), self->error.code);				\
	EXPECT_TRUE(ptl_is_sentence(&self->error)) {			\
		TH_LOG("text: '%s'", self->error.text);			\
	}								\
	EXPECT_EQ(NULL, self->buf);					\
	EXPECT_EQ(self->fds, ptl_count_fds());				\
} while (0)

#define RECV() p2pbuf_recv(self->sock[1], &self->buf, &self->meta, &self->error)

TEST_F(fdpass, arrives)
{
	struct p2pbuf_meta meta = {
		.size = sizeof(meta),
		.offset = 4096,
		.length = 8192,
		.name = "weights",
	};
	struct p2pbuf_buffer *sent;
	int inherited = ptl_count_inherited();
	unsigned char *a, *b;
	int fd;

	ASSERT_EQ(0, p2pbuf_import(self->dmabuf, &sent, &self->error));
	ASSERT_EQ(0, p2pbuf_map(sent, 0, 0, P2PBUF_READ | P2PBUF_WRITE,
				(void **)&a));
	memset(a, 0xa5, SIZE);
	ASSERT_EQ(0, p2pbuf_send(self->sock[0], sent, &meta, &self->error));
	memset(&self->meta, 0xee, sizeof(self->meta));
	self->meta.size = sizeof(self->meta);
	self->meta.flags = 0;
	ASSERT_EQ(0, RECV()) TH_LOG("%s", self->error.text);

	EXPECT_EQ(4096, self->meta.offset);
	EXPECT_EQ(8192, self->meta.length);
	EXPECT_EQ(SIZE, self->meta.buffer_length);
	EXPECT_EQ(0, self->meta.generation);
	EXPECT_STREQ("weights", self->meta.name);
	EXPECT_EQ(getpid(), self->meta.pid);
	EXPECT_EQ(getuid(), self->meta.uid);
	EXPECT_EQ(getgid(), self->meta.gid);

	/* The same memory, through a descriptor that execve() closes. */
	ASSERT_EQ(0, p2pbuf_map(self->buf, 0, 0, P2PBUF_READ, (void **)&b));
	memset(a, 0x3c, SIZE);
	EXPECT_EQ(0, memcmp(a, b, SIZE));
	fd = p2pbuf_export_fd(self->buf);
	ASSERT_LE(0, fd);
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
	EXPECT_EQ(inherited, ptl_count_inherited());
	close(fd);
	p2pbuf_unmap(a, SIZE);
	p2pbuf_unmap(b, SIZE);
	p2pbuf_free(sent);
}

TEST_F(fdpass, wire_format)
{
	struct p2pbuf_meta meta = {
		.size = sizeof(meta),
		.offset = 4096,
		.length = 8192,
		.name = "weights",
	};
	struct wire got, want = good;
	struct p2pbuf_buffer *sent;

	want.generation = 0;
	ASSERT_EQ(0, p2pbuf_import(self->dmabuf, &sent, NULL));
	ASSERT_EQ(0, p2pbuf_send(self->sock[0], sent, &meta, NULL));
	/* Without room for it the kernel drops the descriptor. */
	ASSERT_EQ(sizeof(got), recv(self->sock[1], &got, sizeof(got), 0));
	EXPECT_EQ(0, memcmp(&got, &want, sizeof(got)));
	p2pbuf_free(sent);
}

TEST_F(fdpass, whole_buffer_by_default)
{
	struct p2pbuf_buffer *sent;

	ASSERT_EQ(0, p2pbuf_import(self->dmabuf, &sent, NULL));
	ASSERT_EQ(0, p2pbuf_send(self->sock[0], sent, NULL, NULL));
	ASSERT_EQ(0, RECV());
	EXPECT_EQ(0, self->meta.offset);
	EXPECT_EQ(SIZE, self->meta.length);
	EXPECT_STREQ("", self->meta.name);
	p2pbuf_free(sent);
}

/* Without a meta the buffer alone is what the caller wants. */
TEST_F(fdpass, no_meta)
{
	ASSERT_EQ(128, send_raw(self->sock[0], &good, 128, self->dmabuf, 1));
	EXPECT_EQ(0, p2pbuf_recv(self->sock[1], &self->buf, NULL, NULL));
	EXPECT_NE(NULL, self->buf);
}

TEST_F(fdpass, truncated)
{
	size_t len;

	for (len = 1; len < sizeof(good); len += 42) {
		ASSERT_EQ(len, send_raw(self->sock[0], &good, len, self->dmabuf, 1));
		/* A stream would wait for the rest: there is none. */
		if (variant->type == SOCK_STREAM)
			shutdown(self->sock[0], SHUT_WR);
		EXPECT_REFUSED(EMSGSIZE, RECV());
		if (variant->type == SOCK_STREAM)
			break;
	}
}

TEST_F(fdpass, too_long)
{
	char bytes[sizeof(good) + 1] = { 0 };

	if (variant->type == SOCK_STREAM)
		SKIP(return, "a stream has no ends of messages");
	memcpy(bytes, &good, sizeof(good));
	ASSERT_EQ(129, send_raw(self->sock[0], bytes, 129, self->dmabuf, 1));
	EXPECT_REFUSED(EMSGSIZE, RECV());
}

/* Each half brings a descriptor: neither may stay. */
TEST_F(fdpass, in_two_halves)
{
	const char *bytes = (const char *)&good;

	if (variant->type != SOCK_STREAM)
		SKIP(return, "only a stream joins what was sent apart");
	ASSERT_EQ(64, send_raw(self->sock[0], bytes, 64, self->dmabuf, 1));
	ASSERT_EQ(64, send_raw(self->sock[0], bytes + 64, 64, self->dmabuf, 1));
	EXPECT_REFUSED(EMSGSIZE, RECV());
}

TEST_F(fdpass, no_fd)
{
	ASSERT_EQ(128, send_raw(self->sock[0], &good, 128, -1, 0));
	EXPECT_REFUSED(ENOMSG, RECV());
}

TEST_F(fdpass, too_many_fds)
{
	static const unsigned int counts[] = { 2, 3, 253 };
	size_t i;

	for (i = 0; i < 3; i++) {
		ASSERT_EQ(128, send_raw(self->sock[0], &good, 128, self->dmabuf,
					counts[i]));
		EXPECT_REFUSED(ETOOMANYREFS, RECV());
	}
}

TEST_F(fdpass, not_a_dmabuf)
{
	int null = open("/dev/null", O_RDWR);

	ASSERT_EQ(128, send_raw(self->sock[0], &good, 128, null, 1));
	close(null);
	EXPECT_REFUSED(EBADFD, RECV());
	/* A memfd has a size, but is none either. */
	null = memfd_create("x", 0);
	ASSERT_EQ(0, ftruncate(null, SIZE));
	ASSERT_EQ(128, send_raw(self->sock[0], &good, 128, null, 1));
	close(null);
	EXPECT_REFUSED(EBADFD, RECV());
}

TEST_F(fdpass, wrong_fields)
{
	struct {
		const char *what;
		int code;
		struct wire msg;
	} cases[] = {
		{ "magic", EPROTO, good },
		{ "version", EPROTONOSUPPORT, good },
		{ "size", EPROTONOSUPPORT, good },
		{ "reserved", EBADMSG, good },
		{ "reserved end", EBADMSG, good },
		{ "name", EBADMSG, good },
		{ "no length", ERANGE, good },
		{ "past the end", ERANGE, good },
		{ "offset past the end", ERANGE, good },
		{ "overflow", ERANGE, good },
		{ "smaller than said", ERANGE, good },
		{ "larger than said", ERANGE, good },
	};
	size_t i;

	cases[0].msg.magic ^= 1;
	cases[1].msg.version = 2;
	cases[2].msg.size = 64;
	cases[3].msg.reserved[0] = 1;
	cases[4].msg.reserved[2] = 1ull << 63;
	memset(cases[5].msg.name, 'x', sizeof(good.name));
	cases[6].msg.length = 0;
	cases[7].msg.length = SIZE;
	cases[8].msg.offset = SIZE + 4096;
	cases[9].msg.offset = UINT64_MAX - 4095;
	cases[10].msg.buffer_length = SIZE + 4096;
	cases[11].msg.buffer_length = SIZE - 4096;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		TH_LOG("%s", cases[i].what);
		ASSERT_EQ(128, send_raw(self->sock[0], &cases[i].msg, 128,
					self->dmabuf, 1));
		EXPECT_REFUSED(cases[i].code, RECV());
	}
	/* The connection itself is still good. */
	ASSERT_EQ(128, send_raw(self->sock[0], &good, 128, self->dmabuf, 1));
	EXPECT_EQ(0, RECV());
	EXPECT_EQ(7, self->meta.generation);
}

TEST_F(fdpass, dead_peer)
{
	struct p2pbuf_buffer *sent;

	ASSERT_EQ(0, p2pbuf_import(self->dmabuf, &sent, NULL));
	close(self->sock[0]);
	self->fds = ptl_count_fds();
	/* No SIGPIPE either: it would end this process. */
	EXPECT_REFUSED(EPIPE, p2pbuf_send(self->sock[1], sent, NULL,
					  &self->error));
	if (variant->type != SOCK_DGRAM)
		EXPECT_REFUSED(EPIPE, RECV());
	p2pbuf_free(sent);
	self->fds = 0;
	self->sock[0] = -1;
}

/* The sender dies with its message on the way: the message is whole. */
TEST_F(fdpass, dead_sender)
{
	ASSERT_EQ(128, send_raw(self->sock[0], &good, 128, self->dmabuf, 1));
	shutdown(self->sock[0], SHUT_RDWR);
	EXPECT_EQ(0, RECV());
}

TEST_F(fdpass, table_full)
{
	struct rlimit old, tight;

	ASSERT_EQ(128, send_raw(self->sock[0], &good, 128, self->dmabuf, 1));
	ASSERT_EQ(0, getrlimit(RLIMIT_NOFILE, &old));
	tight = old;
	/* The lowest free number is the limit. */
	tight.rlim_cur = dup(0);
	close(tight.rlim_cur);
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &tight));
	EXPECT_EQ(-EMFILE, RECV());
	ASSERT_EQ(0, setrlimit(RLIMIT_NOFILE, &old));
	EXPECT_EQ(EMFILE, self->error.code);
	EXPECT_TRUE(ptl_is_sentence(&self->error));
}

/* What the socket's owner asked the kernel to add is not taken for a buffer. */
TEST_F(fdpass, extra_control_messages)
{
	int on = 1;

	ASSERT_EQ(0, setsockopt(self->sock[1], SOL_SOCKET, SO_PASSCRED, &on,
				sizeof(on)));
	setsockopt(self->sock[1], SOL_SOCKET, SO_PASSPIDFD, &on, sizeof(on));
	ASSERT_EQ(128, send_raw(self->sock[0], &good, 128, self->dmabuf, 1));
	EXPECT_EQ(0, RECV()) TH_LOG("%s", self->error.text);
	EXPECT_EQ(getpid(), self->meta.pid);
	/* The buffer's alone. */
	EXPECT_EQ(self->fds + 1, ptl_count_fds());
}

TEST_F(fdpass, struct_sizes)
{
	struct {
		struct p2pbuf_meta meta;
		char more[16];
	} longer = { .meta.size = sizeof(longer) };

	ASSERT_EQ(128, send_raw(self->sock[0], &good, 128, self->dmabuf, 1));
	self->meta.size = sizeof(self->meta) - 1;
	EXPECT_REFUSED(EINVAL, RECV());
	longer.more[15] = 1;
	EXPECT_REFUSED(E2BIG, p2pbuf_recv(self->sock[1], &self->buf,
					  &longer.meta, &self->error));
	longer.more[15] = 0;
	/* Refused before the message was taken. */
	EXPECT_EQ(0, p2pbuf_recv(self->sock[1], &self->buf, &longer.meta,
				 &self->error));
	EXPECT_EQ(sizeof(longer), longer.meta.size);
	EXPECT_EQ(8192, longer.meta.length);
}

TEST_F(fdpass, flags)
{
	self->meta.flags = 1 << 7;
	EXPECT_REFUSED(EINVAL, RECV());
	self->meta.flags = P2PBUF_ANY_UID | P2PBUF_ONLY_UID;
	EXPECT_REFUSED(EINVAL, RECV());
}

TEST_F(fdpass, send_refuses)
{
	struct p2pbuf_meta meta = { .size = sizeof(meta) };
	struct p2pbuf_buffer *sent;

	ASSERT_EQ(0, p2pbuf_import(self->dmabuf, &sent, NULL));
	self->fds = ptl_count_fds();
	meta.offset = SIZE;
	EXPECT_REFUSED(ERANGE, p2pbuf_send(self->sock[0], sent, &meta,
					   &self->error));
	meta.offset = 4096;
	meta.length = SIZE;
	EXPECT_REFUSED(ERANGE, p2pbuf_send(self->sock[0], sent, &meta,
					   &self->error));
	meta.length = 0;
	memset(meta.name, 'x', sizeof(meta.name));
	EXPECT_REFUSED(EINVAL, p2pbuf_send(self->sock[0], sent, &meta,
					   &self->error));
	/* Nothing was sent. */
	EXPECT_EQ(-1, recv(self->sock[1], &meta, sizeof(meta), MSG_DONTWAIT));
	p2pbuf_free(sent);
	self->fds--;
}

TEST_F(fdpass, nothing_there)
{
	ASSERT_EQ(0, fcntl(self->sock[1], F_SETFL, O_NONBLOCK));
	EXPECT_REFUSED(EAGAIN, RECV());
}

TEST(not_a_unix_socket)
{
	struct p2pbuf_error error = { .size = sizeof(error) };
	struct p2pbuf_buffer *buf = NULL;
	int fds = ptl_count_fds(), fd;

	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd >= 0) {
		EXPECT_EQ(-EAFNOSUPPORT, p2pbuf_recv(fd, &buf, NULL, &error));
		EXPECT_TRUE(ptl_is_sentence(&error));
		close(fd);
	}
	fd = open("/dev/null", O_RDWR);
	EXPECT_EQ(-ENOTSOCK, p2pbuf_recv(fd, &buf, NULL, &error));
	close(fd);
	EXPECT_EQ(-EBADF, p2pbuf_recv(fd, &buf, NULL, &error));
	EXPECT_EQ(NULL, buf);
	EXPECT_EQ(fds, ptl_count_fds());
}

/*
 * A process of another user connects and sends what is all right otherwise.
 */
FIXTURE(stranger)
{
	int dmabuf;
	int listener;
	int sock;
	int fds;
	pid_t pid;
	struct p2pbuf_buffer *buf;
	struct p2pbuf_meta meta;
	struct p2pbuf_error error;
};

FIXTURE_SETUP(stranger)
{
	/* An abstract address, so that no directory has to let him in. */
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	socklen_t len = offsetof(struct sockaddr_un, sun_path) + 1 +
		snprintf(addr.sun_path + 1, 32, "p2pbuf-fdpass-%d", getpid());
	int sock;

	if (geteuid())
		SKIP(return, "needs root, to become somebody else");
	self->dmabuf = ptk_udmabuf(SIZE);
	if (self->dmabuf < 0)
		SKIP(return, "no udmabuf: %s", strerror(-self->dmabuf));
	self->listener = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	ASSERT_LE(0, self->listener);
	ASSERT_EQ(0, bind(self->listener, (struct sockaddr *)&addr, len));
	ASSERT_EQ(0, listen(self->listener, 1));
	self->pid = fork();
	if (!self->pid) {
		sock = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		if (sock < 0 || setgid(NOBODY) || setuid(NOBODY) ||
		    connect(sock, (struct sockaddr *)&addr, len) ||
		    send_raw(sock, &good, 128, self->dmabuf, 1) != 128)
			_exit(1);
		pause();
		_exit(0);
	}
	self->sock = accept(self->listener, NULL, NULL);
	ASSERT_LE(0, self->sock);
	self->meta.size = sizeof(self->meta);
	self->error.size = sizeof(self->error);
	self->fds = ptl_count_fds();
}

FIXTURE_TEARDOWN(stranger)
{
	p2pbuf_free(self->buf);
	EXPECT_EQ(self->fds, ptl_count_fds());
	kill(self->pid, SIGKILL);
	waitpid(self->pid, NULL, 0);
	close(self->sock);
	close(self->listener);
	close(self->dmabuf);
}

#define RECV_STRANGER() \
	p2pbuf_recv(self->sock, &self->buf, &self->meta, &self->error)

TEST_F(stranger, refused)
{
	EXPECT_REFUSED(EPERM, RECV_STRANGER());
}

TEST_F(stranger, refused_by_uid)
{
	self->meta.flags = P2PBUF_ONLY_UID;
	self->meta.uid = 12345;
	EXPECT_REFUSED(EPERM, RECV_STRANGER());
}

TEST_F(stranger, welcome_by_uid)
{
	self->meta.flags = P2PBUF_ONLY_UID;
	self->meta.uid = NOBODY;
	EXPECT_EQ(0, RECV_STRANGER()) TH_LOG("%s", self->error.text);
	EXPECT_EQ(NOBODY, self->meta.uid);
	EXPECT_EQ(NOBODY, self->meta.gid);
	EXPECT_EQ(self->pid, self->meta.pid);
}

TEST_F(stranger, anybody)
{
	self->meta.flags = P2PBUF_ANY_UID;
	EXPECT_EQ(0, RECV_STRANGER()) TH_LOG("%s", self->error.text);
	EXPECT_EQ(NOBODY, self->meta.uid);
}

/* Memory is not given to a stranger either. */
TEST_F(stranger, nothing_for_him)
{
	struct p2pbuf_buffer *sent;

	ASSERT_EQ(0, p2pbuf_import(self->dmabuf, &sent, NULL));
	EXPECT_EQ(-EPERM, p2pbuf_send(self->sock, sent, NULL, &self->error));
	EXPECT_EQ(EPERM, self->error.code);
	self->meta.flags = P2PBUF_ANY_UID;
	EXPECT_EQ(0, p2pbuf_send(self->sock, sent, &self->meta, &self->error));
	p2pbuf_free(sent);
}

TEST_HARNESS_MAIN
