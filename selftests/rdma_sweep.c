// SPDX-License-Identifier: GPL-2.0
/*
 * Failure sweep over the RDMA importer: listen, connect, accept, import, grant,
 * release and submit are each played again and again with the first, the
 * second, the third ... thing that can fail failing. Each time the call says so
 * or succeeds all the same, no connection and no attachment is left behind, and
 * the next try works, down to the bytes.
 *
 * A connection that was being made is over when that failed: the next try is
 * one with other files. Both ends are threads of one process, and only the one
 * under test is armed.
 *
 * Needs a kernel that injects faults; on others it is skipped.
 */
#include <liburing.h>
#include <stdatomic.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_mock.h"
#include "p2pbuf_test_nvme.h"
#include "p2pbuf_test_rdma.h"
#include "p2pbuf_test_sweep.h"

#define ATTACHMENTS	"/sys/kernel/debug/p2pbuf/attachments"
#define CONNECTIONS	"/sys/kernel/debug/p2pbuf/rdma/connections"
#define BUFFER		(64 * PTN_KIB)
#define ID		1

FIXTURE(sweep) {
	struct ptn_buffer from;
	struct ptn_buffer to;
	struct ptd_pair pair;
	int attachments;	/* that exist anyhow */
	int connections;
};

FIXTURE_SETUP(sweep)
{
	const char *why = pts_impossible();
	int ret = ptd_open();

	memset(self, 0, sizeof(*self));
	if (ret == -ENOENT)
		why = "no " PTD_NODE;
	if (why)
		SKIP(return, "%s", why);
	ASSERT_LE(0, ret);
	close(ret);
	ret = ptn_buffer_alloc(&self->from, PTN_UDMABUF, BUFFER);
	if (ret == -ENOENT)
		SKIP(return, "no udmabuf");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, ptn_buffer_alloc(&self->to, PTN_UDMABUF, BUFFER));
	self->attachments = ptk_lines(ATTACHMENTS);
	self->connections = ptk_lines(CONNECTIONS);
	ASSERT_LE(0, self->attachments);
	ASSERT_LE(0, self->connections);
}

FIXTURE_TEARDOWN(sweep)
{
	ptn_buffer_free(&self->from);
	ptn_buffer_free(&self->to);
}

/* ---- points ------------------------------------------------------------------ */

#define SWEEP FIXTURE_DATA(sweep)

/* Nothing of the last round is left; false when it was the last one. */
static bool next_point(struct __test_metadata *_metadata, SWEEP *self,
		       struct pts_point *p)
{
	if (p->nth) {
		EXPECT_TRUE(ptm_until(ptk_lines(ATTACHMENTS) ==
				      self->attachments));
		EXPECT_TRUE(ptm_until(ptk_lines(CONNECTIONS) ==
				      self->connections));
	}
	return pts_next(_metadata, p);
}

/* What the network says when it gets no memory, too. */
static bool expected(int ret)
{
	return pts_expected(ret) || ret == -ENOBUFS || ret == -ENFILE;
}

/* After the call that was armed. */
static void judge_point(struct __test_metadata *_metadata, struct pts_point *p,
			int ret)
{
	pts_judge(_metadata, p, ret, expected(ret));
}

/* ---- the end that is not under test ------------------------------------------ */

/**
 * struct other - an end in a thread of its own
 * @fd: its file
 * @listener: where it accepts
 * @port: ... or whom it calls
 * @stop: nobody will come any more
 * @ret: what the call returned
 */
struct other {
	int fd;
	int listener;
	int port;
	atomic_bool stop;
	int ret;
};

static void *other_accepts(void *arg)
{
	struct other *o = arg;
	struct p2pbuf_rdma_accept accept = {
		.size = sizeof(accept), .listen_fd = o->listener,
		.timeout_ms = 50,
	};

	do {
		o->ret = ptd_ioctl(o->fd, P2PBUF_RDMA_ACCEPT, &accept);
	} while (o->ret == -ETIMEDOUT && !o->stop);
	return NULL;
}

static void *other_calls(void *arg)
{
	struct other *o = arg;
	struct p2pbuf_rdma_limits none = {};

	o->ret = ptd_connect(o->fd, o->port, none);
	return NULL;
}

/* Both ends are up, and a write of all bytes arrives. */
static bool works(SWEEP *self, int a, int b)
{
	const struct p2pbuf_rdma_cmd cmd = {
		.local_id = ID, .remote_id = ID, .length = BUFFER,
	};
	struct p2pbuf_rdma_remote_info info;
	static __u64 seed;
	struct io_uring ring;
	bool good;

	seed++;
	ptd_fill(self->from.map, BUFFER, seed);
	memset(self->to.map, PTD_POISON, BUFFER);
	if (ptd_ring(&ring, 8))
		return false;
	good = ptd_import(a, self->from.dmabuf, ID) == ID &&
	       ptd_import(b, self->to.dmabuf, ID) == ID &&
	       !ptd_grant(b, ID, PTD_BOTH) &&
	       !ptd_regranted(a, ID, &info) &&
	       ptd_io(&ring, a, P2PBUF_RDMA_URING_WRITE, &cmd) == BUFFER &&
	       ptd_check(self->to.map, BUFFER, seed) == BUFFER;
	io_uring_queue_exit(&ring);
	return good;
}

/* ---- connections ------------------------------------------------------------- */

/* It puts a failure into the log, unless it is asked not to: rxe does not ask. */
#define SPARE_VMALLOC() ASSERT_EQ(0, pts_spare("__vmalloc_node_range_noprof"))

TEST_F_TIMEOUT(sweep, listen, 200)
{
	struct pts_point p = { .what = "listen" };
	struct p2pbuf_rdma_listen arg;
	int fd, ret;

	while (next_point(_metadata, self, &p)) {
		fd = ptd_open();
		ASSERT_LE(0, fd);
		arg = (struct p2pbuf_rdma_listen){
			.size = sizeof(arg), .addr = ptd_address(0),
		};
		pts_arm(p.nth);
		ret = ptd_ioctl(fd, P2PBUF_RDMA_LISTEN, &arg);
		judge_point(_metadata, &p, ret);
		/* The same file, if it is none yet. */
		EXPECT_LT(0, ret ? ptd_listen(fd) : arg.addr.port);
		close(fd);
	}
}

TEST_F_TIMEOUT(sweep, connect, 400)
{
	struct pts_point p = { .what = "connect" };
	struct p2pbuf_rdma_limits none = {};
	struct other o = {};
	pthread_t thread;
	int fd, ret;

	SPARE_VMALLOC();
	while (next_point(_metadata, self, &p)) {
		o = (struct other){ .fd = ptd_open(), .listener = ptd_open() };
		fd = ptd_open();
		ASSERT_LE(0, fd);
		ASSERT_LE(0, o.fd);
		o.port = ptd_listen(o.listener);
		ASSERT_LT(0, o.port);
		ASSERT_EQ(0, pthread_create(&thread, NULL, other_accepts, &o));
		pts_arm(p.nth);
		ret = ptd_connect(fd, o.port, none);
		judge_point(_metadata, &p, ret);
		o.stop = !!ret;
		pthread_join(thread, NULL);
		if (!ret) {
			EXPECT_EQ(0, o.ret);
			EXPECT_TRUE(works(self, fd, o.fd));
		}
		close(fd);
		close(o.fd);
		close(o.listener);
	}
}

/* The request stays with the listener, or it was refused. */
TEST_F_TIMEOUT(sweep, accept, 400)
{
	struct pts_point p = { .what = "accept" };
	struct p2pbuf_rdma_limits none = {};
	struct other o = {};
	int fd, listener, ret;
	pthread_t thread;

	SPARE_VMALLOC();
	while (next_point(_metadata, self, &p)) {
		listener = ptd_open();
		o = (struct other){ .fd = ptd_open() };
		fd = ptd_open();
		ASSERT_LE(0, fd);
		ASSERT_LE(0, o.fd);
		o.port = ptd_listen(listener);
		ASSERT_LT(0, o.port);
		ASSERT_EQ(0, pthread_create(&thread, NULL, other_calls, &o));
		pts_arm(p.nth);
		ret = ptd_accept(fd, listener, none);
		judge_point(_metadata, &p, ret);
		if (!ret) {
			pthread_join(thread, NULL);
			EXPECT_EQ(0, o.ret);
			EXPECT_TRUE(works(self, o.fd, fd));
		}
		close(fd);
		/* Refuses whoever still waits. */
		close(listener);
		if (ret) {
			pthread_join(thread, NULL);
			/* The call may have been answered before that. */
			EXPECT_TRUE(o.ret || ptd_outcome(o.fd));
		}
		close(o.fd);
	}
}

/* ---- on a connection --------------------------------------------------------- */

/* Made for each point: what a failure left behind goes with it or is seen. */
static void pair_open(struct __test_metadata *_metadata, SWEEP *self)
{
	self->pair = (struct ptd_pair){};
	ASSERT_EQ(0, ptd_pair_open(&self->pair));
}

TEST_F_TIMEOUT(sweep, import, 400)
{
	struct pts_point p = { .what = "import" };
	int ret;

	while (next_point(_metadata, self, &p)) {
		pair_open(_metadata, self);
		pts_arm(p.nth);
		ret = ptd_import(self->pair.a.fd, self->from.dmabuf, ID);
		judge_point(_metadata, &p, ret < 0 ? ret : 0);
		EXPECT_EQ(0, ret > 0 ? ptd_release(self->pair.a.fd, ID) : 0);
		EXPECT_TRUE(works(self, self->pair.a.fd, self->pair.b.fd));
		ptd_pair_close(&self->pair);
	}
}

TEST_F_TIMEOUT(sweep, grant, 400)
{
	struct p2pbuf_rdma_remote_info info;
	struct pts_point p = { .what = "grant" };
	int ret;

	pair_open(_metadata, self);
	EXPECT_EQ(ID, ptd_import(self->pair.b.fd, self->to.dmabuf, ID));
	self->attachments = ptk_lines(ATTACHMENTS);
	self->connections = ptk_lines(CONNECTIONS);
	while (next_point(_metadata, self, &p)) {
		pts_arm(p.nth);
		ret = ptd_grant(self->pair.b.fd, ID, PTD_BOTH);
		judge_point(_metadata, &p, ret);
		EXPECT_EQ(0, ret ? ptd_grant(self->pair.b.fd, ID, PTD_BOTH) : 0);
		EXPECT_EQ(0, ptd_regranted(self->pair.a.fd, ID, &info));
		EXPECT_EQ(0, ptd_recall(self->pair.b.fd, ID));
	}
	EXPECT_EQ(0, ptd_release(self->pair.b.fd, ID));
	EXPECT_TRUE(works(self, self->pair.a.fd, self->pair.b.fd));
	ptd_pair_close(&self->pair);
}

TEST_F_TIMEOUT(sweep, submit, 400)
{
	const struct p2pbuf_rdma_cmd cmd = {
		.local_id = ID, .remote_id = ID, .length = BUFFER,
	};
	struct pts_point p = { .what = "submit" };
	int ret;

	pair_open(_metadata, self);
	EXPECT_TRUE(works(self, self->pair.a.fd, self->pair.b.fd));
	self->attachments = ptk_lines(ATTACHMENTS);
	self->connections = ptk_lines(CONNECTIONS);
	while (next_point(_metadata, self, &p)) {
		ptd_fill(self->from.map, BUFFER, 1000 + p.nth);
		memset(self->to.map, PTD_POISON, BUFFER);
		ptd_prep(&self->pair.a.ring, self->pair.a.fd,
			 P2PBUF_RDMA_URING_WRITE, &cmd, 0);
		pts_arm(p.nth);
		ret = io_uring_submit(&self->pair.a.ring);
		p.more = pts_disarm();
		ASSERT_EQ(1, ret);
		ret = ptd_wait(&self->pair.a.ring, NULL);
		p.errors += ret != BUFFER;
		EXPECT_TRUE(ret == BUFFER || (p.more && pts_expected(ret)))
			TH_LOG("submit, point %u: %d", p.nth, ret);
		/* Nothing, or all of it. */
		EXPECT_EQ(BUFFER, ret == BUFFER ?
			  ptd_check(self->to.map, BUFFER, 1000 + p.nth) :
			  ptd_check_poison(self->to.map, BUFFER));
		ret = ptd_io(&self->pair.a.ring, self->pair.a.fd,
			     P2PBUF_RDMA_URING_WRITE, &cmd);
		EXPECT_EQ(BUFFER, ret);
		EXPECT_EQ(BUFFER, ptd_check(self->to.map, BUFFER,
					    1000 + p.nth));
	}
	ptd_pair_close(&self->pair);
}

int main(int argc, char **argv)
{
	return ptd_main(argc, argv);
}
