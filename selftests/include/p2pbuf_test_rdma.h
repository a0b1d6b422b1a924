/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Two ends of an RDMA connection in one guest: stock rxe on a dummy network
 * device, the node by raw ioctls and io_uring commands.
 *
 * ptd_main() makes the device once for a whole program, before the harness
 * forks, and takes it down at the end.
 */
#ifndef P2PBUF_TEST_RDMA_H
#define P2PBUF_TEST_RDMA_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <liburing.h>

#include <linux/p2pbuf_rdma.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_link.h"
#include "p2pbuf_test_run.h"

#define PTD_NODE	"/dev/p2pbuf-rdma"
#define PTD_NETDEV	"p2pbuf0"
#define PTD_RXE		"rxe_p2pbuf"
#ifndef PTD_ADDRESS
#define PTD_ADDRESS	"10.77.0.1"
#endif
#define PTD_MS		20000
#define PTD_MIB		(1024ull * 1024)

/* ---- the network ----------------------------------------------------------- */

/* Removing the network device removes the RDMA device on it. */
static inline void ptd_net_unmake(void)
{
	ptk_run("ip link del %s 2>/dev/null", PTD_NETDEV);
}

static inline int ptd_net_make(void)
{
	if (ptk_run("modprobe rdma_rxe && modprobe dummy numdummies=0") ||
	    ptk_run("ip link add %s type dummy", PTD_NETDEV) ||
	    ptk_run("ip link set %s mtu 4500", PTD_NETDEV) ||
	    ptk_run("ip addr add %s/24 dev %s", PTD_ADDRESS, PTD_NETDEV) ||
	    ptk_run("ip link set %s up", PTD_NETDEV))
		return -ENODEV;
	return ptd_link_wait(PTD_RXE, "rxe", PTD_NETDEV);
}

/* At the end of the program, not of its children. */
static pid_t ptd_owner;

static inline void ptd_net_end(void)
{
	if (getpid() == ptd_owner)
		ptd_net_unmake();
}

/* One network for all: an RDMA device takes longer than a test. */
static inline int ptd_main(int argc, char **argv)
{
	ptd_owner = getpid();
	atexit(ptd_net_end);
	if (!access(PTD_NODE, F_OK) && ptd_net_make())
		fprintf(stderr, "# no RDMA device\n");
	ptk_scale_limits();
	return test_harness_run(argc, argv);
}

/* ---- the node -------------------------------------------------------------- */

static inline int ptd_open(void)
{
	int fd = open(PTD_NODE, O_RDWR | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static inline int ptd_ioctl(int fd, unsigned long cmd, void *arg)
{
	return ioctl(fd, cmd, arg) ? -errno : 0;
}

static inline struct p2pbuf_rdma_addr ptd_address(__u16 port)
{
	struct p2pbuf_rdma_addr addr = { .family = AF_INET, .port = port };

	inet_pton(AF_INET, PTD_ADDRESS, addr.ip);
	return addr;
}

/* Returns the port. */
static inline int ptd_listen(int fd)
{
	struct p2pbuf_rdma_listen arg = {
		.size = sizeof(arg),
		.addr = ptd_address(0),
	};
	int ret = ptd_ioctl(fd, P2PBUF_RDMA_LISTEN, &arg);

	return ret ? ret : arg.addr.port;
}

static inline int ptd_connect(int fd, __u16 port,
			      struct p2pbuf_rdma_limits limits)
{
	struct p2pbuf_rdma_connect arg = {
		.size = sizeof(arg),
		.addr = ptd_address(port),
		.timeout_ms = PTD_MS * ptk_slow(),
		.limits = limits,
	};

	return ptd_ioctl(fd, P2PBUF_RDMA_CONNECT, &arg);
}

static inline int ptd_accept(int fd, int listener,
			     struct p2pbuf_rdma_limits limits)
{
	struct p2pbuf_rdma_accept arg = {
		.size = sizeof(arg),
		.listen_fd = listener,
		.timeout_ms = PTD_MS * ptk_slow(),
		.limits = limits,
	};

	return ptd_ioctl(fd, P2PBUF_RDMA_ACCEPT, &arg);
}

/* Returns the id. */
static inline int ptd_import(int fd, int dmabuf, __u32 id)
{
	struct p2pbuf_rdma_import arg = {
		.size = sizeof(arg),
		.flags = P2PBUF_RDMA_IMPORT_ALLOW_SYSTEM,
		.dmabuf_fd = dmabuf,
		.id = id,
	};
	int ret = ptd_ioctl(fd, P2PBUF_RDMA_IMPORT, &arg);

	return ret ? ret : (int)arg.id;
}

static inline int ptd_release(int fd, __u32 id)
{
	struct p2pbuf_rdma_release arg = { .size = sizeof(arg), .id = id };

	return ptd_ioctl(fd, P2PBUF_RDMA_RELEASE, &arg);
}

static inline int ptd_grant(int fd, __u32 id, __u32 rights)
{
	struct p2pbuf_rdma_grant arg = {
		.size = sizeof(arg), .id = id, .rights = rights,
	};

	return ptd_ioctl(fd, P2PBUF_RDMA_GRANT, &arg);
}

#define PTD_BOTH	(P2PBUF_RDMA_RIGHT_READ | P2PBUF_RDMA_RIGHT_WRITE)

static inline int ptd_recall(int fd, __u32 id)
{
	struct p2pbuf_rdma_recall arg = { .size = sizeof(arg), .id = id };

	return ptd_ioctl(fd, P2PBUF_RDMA_RECALL, &arg);
}

static inline int ptd_cancel(int fd, __u64 user_data)
{
	struct p2pbuf_rdma_cancel arg = {
		.size = sizeof(arg), .user_data = user_data,
	};

	return ptd_ioctl(fd, P2PBUF_RDMA_CANCEL, &arg);
}

static inline int ptd_shutdown(int fd)
{
	struct p2pbuf_rdma_shutdown arg = { .size = sizeof(arg) };

	return ptd_ioctl(fd, P2PBUF_RDMA_SHUTDOWN, &arg);
}

static inline int ptd_info(int fd, struct p2pbuf_rdma_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	return ptd_ioctl(fd, P2PBUF_RDMA_INFO, info);
}

/* How a connection ended, a positive errno; 0 when it did not. */
static inline int ptd_outcome(int fd)
{
	struct p2pbuf_rdma_info info;
	int tries;

	for (tries = 0; tries < 6000; tries++) {
		if (ptd_info(fd, &info))
			return 0;
		if (info.state == P2PBUF_RDMA_DEAD)
			return info.error;
		usleep(5000);
	}
	return 0;
}

static inline int ptd_buffer_info(int fd, __u32 id,
				  struct p2pbuf_rdma_buffer_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	info->id = id;
	return ptd_ioctl(fd, P2PBUF_RDMA_BUFFER_INFO, info);
}

static inline int ptd_remote_info(int fd, __u32 id, __u32 ms,
				  struct p2pbuf_rdma_remote_info *info)
{
	memset(info, 0, sizeof(*info));
	info->size = sizeof(*info);
	info->id = id;
	info->timeout_ms = ms;
	return ptd_ioctl(fd, P2PBUF_RDMA_REMOTE_INFO, info);
}

/* A grant that was withdrawn is granted again, but has yet to arrive. */
static inline int ptd_regranted(int fd, __u32 id,
				struct p2pbuf_rdma_remote_info *info)
{
	int tries = 0, ret;

	do {
		ret = ptd_remote_info(fd, id, PTD_MS, info);
		usleep(1000);
	} while (ret == -EACCES && ++tries < PTD_MS);
	return ret;
}

static inline void ptd_on_alarm(int signal)
{
	(void)signal;
}

/*
 * Again and again, until it is 0: the first may come before there is anything
 * to interrupt. @restart: as most programs have it, and libraries must expect.
 */
static inline void ptd_alarm_every(unsigned int ms, bool restart)
{
	const struct itimerval timer = {
		.it_interval.tv_usec = ms * 1000, .it_value.tv_usec = ms * 1000,
	};
	const struct sigaction action = {
		.sa_handler = ptd_on_alarm,
		.sa_flags = restart ? SA_RESTART : 0,
	};

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

/* ---- commands -------------------------------------------------------------- */

static inline int ptd_ring(struct io_uring *ring, unsigned int entries)
{
	return io_uring_queue_init(entries, ring, IORING_SETUP_SQE128);
}

static inline void ptd_prep(struct io_uring *ring, int fd, __u32 op,
			    const struct p2pbuf_rdma_cmd *cmd, __u64 data)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	while (!sqe) {
		io_uring_submit(ring);
		sqe = io_uring_get_sqe(ring);
	}
	memset(sqe, 0, 128);
	sqe->opcode = IORING_OP_URING_CMD;
	sqe->fd = fd;
	sqe->cmd_op = op;
	sqe->user_data = data;
	memcpy(sqe->cmd, cmd, sizeof(*cmd));
}

/* Take one completion. Returns its res; -ETIME when none comes. */
static inline int ptd_wait(struct io_uring *ring, __u64 *data)
{
	struct __kernel_timespec ts = { .tv_sec = 60 * ptk_slow() };
	struct io_uring_cqe *cqe;
	int ret;

	do {
		ret = io_uring_wait_cqe_timeout(ring, &cqe, &ts);
	} while (ret == -EINTR);
	if (ret)
		return ret;
	ret = cqe->res;
	if (data)
		*data = cqe->user_data;
	io_uring_cqe_seen(ring, cqe);
	return ret;
}

/* One command, from submission to completion. Returns the CQE's res. */
static inline int ptd_io(struct io_uring *ring, int fd, __u32 op,
			 const struct p2pbuf_rdma_cmd *cmd)
{
	int ret;

	ptd_prep(ring, fd, op, cmd, 0);
	ret = io_uring_submit(ring);
	return ret < 0 ? ret : ptd_wait(ring, NULL);
}

/* ---- two ends -------------------------------------------------------------- */

/**
 * struct ptd_end - one end
 * @fd: the connection
 * @ring: for its commands
 */
struct ptd_end {
	int fd;
	struct io_uring ring;
};

/**
 * struct ptd_pair - both ends of a connection
 * @listener: where @b was called
 * @port: of it
 * @limits: of both ends
 * @a: the caller
 * @b: the called
 */
struct ptd_pair {
	int listener;
	int port;
	struct p2pbuf_rdma_limits limits;
	struct ptd_end a;
	struct ptd_end b;
};

static inline void *ptd_pair_call(void *arg)
{
	struct ptd_pair *pair = arg;

	return (void *)(intptr_t)ptd_connect(pair->a.fd, pair->port,
					     pair->limits);
}

static inline void ptd_pair_close(struct ptd_pair *pair)
{
	io_uring_queue_exit(&pair->a.ring);
	io_uring_queue_exit(&pair->b.ring);
	close(pair->a.fd);
	close(pair->b.fd);
	close(pair->listener);
}

/* Returns 0 or -errno; limits are to be set before. */
static inline int ptd_pair_open(struct ptd_pair *pair)
{
	pthread_t thread;
	void *called;
	int ret;

	pair->listener = ptd_open();
	pair->a.fd = ptd_open();
	pair->b.fd = ptd_open();
	if (pair->listener < 0 || pair->a.fd < 0 || pair->b.fd < 0)
		return -ENODEV;
	pair->port = ptd_listen(pair->listener);
	if (pair->port < 0)
		return pair->port;
	ret = ptd_ring(&pair->a.ring, 128);
	if (!ret)
		ret = ptd_ring(&pair->b.ring, 128);
	if (ret)
		return ret;
	ret = pthread_create(&thread, NULL, ptd_pair_call, pair);
	if (ret)
		return -ret;
	ret = ptd_accept(pair->b.fd, pair->listener, pair->limits);
	pthread_join(thread, &called);
	return ret ? ret : (int)(intptr_t)called;
}

/* ---- bytes ----------------------------------------------------------------- */

#define PTD_POISON	0x5a

/* What the byte at place @at of pattern @seed is; never poison for long. */
static inline __u8 ptd_byte(__u64 seed, __u64 at)
{
	__u64 x = (at + 1) * 0x9e3779b97f4a7c15ull ^ seed * 0xff51afd7ed558ccdull;

	return x >> 56 ^ x >> 20;
}

static inline void ptd_fill(void *p, __u64 length, __u64 seed)
{
	volatile __u8 *byte = p;
	__u64 i;

	for (i = 0; i < length; i++)
		byte[i] = ptd_byte(seed, i);
}

/* Offset of the first wrong byte, or @length. */
static inline __u64 ptd_check(const void *p, __u64 length, __u64 seed)
{
	const volatile __u8 *byte = p;
	__u64 i;

	for (i = 0; i < length; i++)
		if (byte[i] != ptd_byte(seed, i))
			break;
	return i;
}

static inline __u64 ptd_check_poison(const void *p, __u64 length)
{
	const volatile __u8 *byte = p;
	__u64 i;

	for (i = 0; i < length; i++)
		if (byte[i] != PTD_POISON)
			break;
	return i;
}

#endif /* P2PBUF_TEST_RDMA_H */
