/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A block device whose driver sleeps on user space: nbd, served by a thread
 * that does not take its requests before it is told to.
 *
 * The socket holds a few kilobytes. Whoever submits more than that sleeps in
 * the driver, in the middle of submitting.
 */
#ifndef P2PBUF_TEST_NBD_H
#define P2PBUF_TEST_NBD_H

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/nbd.h>

#include "p2pbuf_test_run.h"

#define PTB_DEVICE	"/dev/nbd0"
#define PTB_SIZE	(64UL << 20)

/**
 * struct ptb_nbd - the device and its server
 * @fd: to do I/O on, O_DIRECT
 * @control: another open file, that the driver is told by
 * @near: the driver's end of the socket
 * @far: ours
 * @serve: may requests be taken?
 * @bytes: of data that were taken
 * @driver: the thread in NBD_DO_IT
 * @server: the thread that takes requests
 */
struct ptb_nbd {
	int fd;
	int control;
	int near;
	int far;
	volatile int serve;
	volatile unsigned long bytes;
	pthread_t driver;
	pthread_t server;
};

static inline int ptb_all(int fd, void *p, size_t len)
{
	while (len) {
		ssize_t n = read(fd, p, len);

		if (n <= 0)
			return -EPIPE;
		p = (char *)p + n;
		len -= n;
	}
	return 0;
}

/* Each write is taken and forgotten, each read gives zeroes. */
static inline void *ptb_server(void *arg)
{
	static char data[1 << 20];
	struct ptb_nbd *nbd = arg;
	struct nbd_request request;
	struct nbd_reply reply = { .magic = htobe32(NBD_REPLY_MAGIC) };

	while (!nbd->serve)
		usleep(1000);
	while (!ptb_all(nbd->far, &request, sizeof(request))) {
		uint32_t type = be32toh(request.type) & 0xffff;
		uint32_t len = be32toh(request.len);

		if (type == NBD_CMD_DISC)
			break;
		if (type == NBD_CMD_WRITE && ptb_all(nbd->far, data, len))
			break;
		nbd->bytes += len;
		memcpy(&reply.cookie, &request.cookie, sizeof(reply.cookie));
		if (send(nbd->far, &reply, sizeof(reply), MSG_NOSIGNAL) < 0)
			break;
		memset(data, 0, sizeof(data));
		if (type == NBD_CMD_READ &&
		    send(nbd->far, data, len, MSG_NOSIGNAL) < 0)
			break;
	}
	return NULL;
}

/* Returns when the device is disconnected. */
static inline void *ptb_driver(void *arg)
{
	struct ptb_nbd *nbd = arg;

	ioctl(nbd->control, NBD_DO_IT);
	return NULL;
}

/* NULL, or why this machine has none. */
static inline const char *ptb_open(struct ptb_nbd *nbd)
{
	int pair[2], size = 4096;

	/* Without partitions nobody reads from it before we do. */
	if (ptk_run("modprobe nbd max_part=0 nbds_max=1"))
		return "no nbd";
	*nbd = (struct ptb_nbd){ .fd = -1 };
	nbd->control = open(PTB_DEVICE, O_RDWR | O_CLOEXEC);
	if (nbd->control < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return "no " PTB_DEVICE;
	nbd->near = pair[0];
	nbd->far = pair[1];
	setsockopt(nbd->near, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (ioctl(nbd->control, NBD_SET_BLKSIZE, 4096UL) ||
	    ioctl(nbd->control, NBD_SET_SIZE_BLOCKS, PTB_SIZE / 4096) ||
	    ioctl(nbd->control, NBD_SET_SOCK, nbd->near))
		return "nbd does not take our socket";
	if (pthread_create(&nbd->driver, NULL, ptb_driver, nbd) ||
	    pthread_create(&nbd->server, NULL, ptb_server, nbd))
		return "no threads";
	nbd->fd = open(PTB_DEVICE, O_RDWR | O_DIRECT | O_CLOEXEC);
	return nbd->fd < 0 ? "nbd cannot be opened" : NULL;
}

static inline void ptb_close(struct ptb_nbd *nbd)
{
	nbd->serve = 1;
	close(nbd->fd);
	ioctl(nbd->control, NBD_DISCONNECT);
	pthread_join(nbd->server, NULL);
	close(nbd->far);
	pthread_join(nbd->driver, NULL);
	close(nbd->near);
	ioctl(nbd->control, NBD_CLEAR_SOCK);
	close(nbd->control);
}

#endif /* P2PBUF_TEST_NBD_H */
