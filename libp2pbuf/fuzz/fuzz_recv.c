// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * p2pbuf_recv() against a peer that sends what it likes: bytes, descriptors of
 * any kind and number, credentials, several messages, or nothing. Afterwards
 * the process has as many descriptors as before, and what was accepted is a
 * part of the buffer that came.
 *
 * The machine may have no dma-buf: fstatfs() of the library is this file's,
 * and takes a memfd for one.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/magic.h>

#include "fuzz.h"
#include "internal.h"

#define MESSAGES	3
#define FDS		8

static int memfd = -1, other = -1;

/* Called in the place of fstatfs(), see the Makefile. */
int fuzz_fstatfs(int fd, struct statfs *fs);
int fuzz_fstatfs(int fd, struct statfs *fs)
{
	int ret = fstatfs(fd, fs);

	if (!ret && fs->f_type == TMPFS_MAGIC)
		fs->f_type = DMA_BUF_MAGIC;
	return ret;
}

static unsigned int open_files(void)
{
	unsigned int n = 0;
	DIR *dir = opendir("/proc/self/fd");

	PROMISE(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void prepare(void)
{
	if (memfd >= 0)
		return;
	memfd = memfd_create("fuzz", MFD_CLOEXEC);
	other = open("/dev/null", O_RDWR | O_CLOEXEC);
	PROMISE(memfd >= 0 && other >= 0 && !ftruncate(memfd, 1 << 20));
}

/* One message, as the input says. */
static void send_one(int sock, struct input *in)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FDS * sizeof(int)) +
			   CMSG_SPACE(sizeof(struct ucred))];
	} control = { 0 };
	uint8_t nfds = input_byte(in), kinds = input_byte(in);
	uint8_t length = input_byte(in), bytes[256];
	struct iovec iov = { .iov_base = bytes, .iov_len = length };
	struct msghdr hdr = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct ucred cred = {
		.pid = getpid(), .uid = getuid(), .gid = getgid(),
	};
	int fds[FDS], i;
	struct cmsghdr *c;

	input_bytes(in, bytes, length);
	hdr.msg_control = control.bytes;
	hdr.msg_controllen = sizeof(control.bytes);
	c = CMSG_FIRSTHDR(&hdr);
	hdr.msg_controllen = 0;
	if (nfds & 0x40) {
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_CREDENTIALS;
		c->cmsg_len = CMSG_LEN(sizeof(cred));
		memcpy(CMSG_DATA(c), &cred, sizeof(cred));
		hdr.msg_controllen = CMSG_SPACE(sizeof(cred));
		c = (struct cmsghdr *)(control.bytes + hdr.msg_controllen);
	}
	nfds %= FDS + 1;
	if (nfds) {
		for (i = 0; i < nfds; i++)
			fds[i] = kinds >> (i % 8) & 1 ? other : memfd;
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, nfds * sizeof(int));
		hdr.msg_controllen += CMSG_SPACE(nfds * sizeof(int));
	}
	if (!hdr.msg_controllen)
		hdr.msg_control = NULL;
	sendmsg(sock, &hdr, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void receive_one(int sock, uint32_t flags)
{
	struct p2pbuf_meta meta = { .size = sizeof(meta), .flags = flags };
	struct p2pbuf_error error = { .size = sizeof(error) };
	struct p2pbuf_buffer *buf = NULL;
	int ret;

	ret = p2pbuf_recv(sock, &buf, &meta, &error);
	PROMISE(ret <= 0);
	PROMISE(!ret == !!buf);
	if (ret) {
		PROMISE(error.code == -ret && error.text[0]);
		return;
	}
	PROMISE(meta.buffer_length == buf->length);
	PROMISE(meta.length && meta.offset <= buf->length &&
		meta.length <= buf->length - meta.offset);
	PROMISE(memchr(meta.name, '\0', sizeof(meta.name)));
	PROMISE(meta.uid == getuid());
	PROMISE(fcntl(buf->fd, F_GETFD) & FD_CLOEXEC);
	p2pbuf_free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int types[] = {
		SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM,
	};
	struct input in = { data, size };
	uint8_t how = input_byte(&in);
	unsigned int before, i, on = 1, n = how >> 2 & 3;
	int pair[2];

	prepare();
	before = open_files();
	PROMISE(!socketpair(AF_UNIX, types[how & 3] | SOCK_CLOEXEC, 0, pair));
	if (how & 0x10)
		setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	for (i = 0; i < n; i++)
		send_one(pair[0], &in);
	/* whoever waits for more is told that there is no more */
	if (types[how & 3] == SOCK_DGRAM)
		fcntl(pair[1], F_SETFL, O_NONBLOCK);
	close(pair[0]);
	for (i = 0; i <= n; i++)
		receive_one(pair[1], how >> 6);
	close(pair[1]);
	PROMISE(open_files() == before);
	return 0;
}
