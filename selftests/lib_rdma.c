// SPDX-License-Identifier: GPL-2.0
/* RDMA through the library: two ends in one process, over rxe. */
#include <liburing.h>
#include <pthread.h>

#include <p2pbuf.h>

#include "kselftest_harness.h"
#include "p2pbuf_test_nvme.h"
#include "p2pbuf_test_rdma.h"
#include "p2pbuf_test_lib.h"

#define BUFFER		(3 * PTD_MIB)

FIXTURE(lib) {
	struct p2pbuf_error error;
	struct p2pbuf_rdma *listener;
	struct p2pbuf_rdma *here;
	struct p2pbuf_rdma *there;
	struct ptn_buffer from;
	struct ptn_buffer to;
	struct p2pbuf_buffer *source;
	struct p2pbuf_buffer *target;
	struct io_uring ring;
};

static const struct p2pbuf_rdma_opts opts = {
	.size = sizeof(opts), .timeout_ms = PTD_MS,
};

static void *call(void *arg)
{
	struct p2pbuf_rdma *listener = arg, *connection = NULL;

	p2pbuf_rdma_connect(PTD_ADDRESS, p2pbuf_rdma_port(listener), &opts,
			    &connection, NULL);
	return connection;
}

FIXTURE_SETUP(lib)
{
	pthread_t thread;
	void *caller;
	int ret;

	memset(self, 0, sizeof(*self));
	self->error.size = sizeof(self->error);
	if (access(PTD_NODE, F_OK))
		SKIP(return, "no " PTD_NODE);
	ret = ptn_buffer_alloc(&self->from, PTN_UDMABUF, BUFFER);
	if (ret == -ENOENT)
		SKIP(return, "no udmabuf");
	ASSERT_EQ(0, ret);
	ASSERT_EQ(0, ptn_buffer_alloc(&self->to, PTN_UDMABUF, BUFFER));
	ASSERT_EQ(0, p2pbuf_import(self->from.dmabuf, &self->source,
				   &self->error));
	ASSERT_EQ(0, p2pbuf_import(self->to.dmabuf, &self->target,
				   &self->error));
	ASSERT_EQ(0, p2pbuf_rdma_listen(PTD_ADDRESS, 0, &self->listener,
					&self->error))
		TH_LOG("%s", self->error.text);
	ASSERT_EQ(0, pthread_create(&thread, NULL, call, self->listener));
	ASSERT_EQ(0, p2pbuf_rdma_accept(self->listener, &opts, &self->there,
					&self->error))
		TH_LOG("%s", self->error.text);
	pthread_join(thread, &caller);
	ASSERT_NE(NULL, caller);
	self->here = caller;
	ASSERT_EQ(0, ptd_ring(&self->ring, 16));
}

FIXTURE_TEARDOWN(lib)
{
	if (self->here)
		io_uring_queue_exit(&self->ring);
	p2pbuf_rdma_close(self->here);
	p2pbuf_rdma_close(self->there);
	p2pbuf_rdma_close(self->listener);
	p2pbuf_free(self->source);
	p2pbuf_free(self->target);
	ptn_buffer_free(&self->from);
	ptn_buffer_free(&self->to);
}

static int run(struct io_uring *ring)
{
	io_uring_submit(ring);
	return ptd_wait(ring, NULL);
}

TEST_F(lib, there_and_back)
{
	struct p2pbuf_rdma_attach_opts attach = {
		.size = sizeof(attach), .flags = P2PBUF_ALLOW_SYSTEM,
	};
	struct p2pbuf_rdma_range range = {
		.remote_id = 5, .local_offset = 3, .remote_offset = 1000,
		.length = 2 * PTD_MIB + 17,
	};
	struct p2pbuf_rdma_stats stats = { .size = sizeof(stats) };
	struct io_uring_sqe *sqe;
	__u8 *to = self->to.map;
	uint32_t rights;
	uint64_t length;

	ASSERT_EQ(1, p2pbuf_rdma_attach(self->here, self->source, &attach,
					&self->error));
	range.local_id = 1;
	attach.id = 5;
	ASSERT_EQ(5, p2pbuf_rdma_attach(self->there, self->target, &attach,
					&self->error));
	ASSERT_EQ(0, p2pbuf_rdma_grant(self->there, 5,
				       P2PBUF_READ | P2PBUF_WRITE));
	ASSERT_EQ(0, p2pbuf_rdma_wait(self->here, 5, PTD_MS, &length,
				      &rights));
	EXPECT_EQ(BUFFER, length);
	EXPECT_EQ(P2PBUF_READ | P2PBUF_WRITE, rights);

	ptd_fill((__u8 *)self->from.map + 3, range.length, 1);
	memset(to, PTD_POISON, BUFFER);
	sqe = io_uring_get_sqe(&self->ring);
	ASSERT_EQ(0, p2pbuf_rdma_prep_write_imm(sqe, self->here, &range, 77));
	ASSERT_EQ((int)range.length, run(&self->ring));
	sqe = io_uring_get_sqe(&self->ring);
	ASSERT_EQ(0, p2pbuf_rdma_prep_recv(sqe, self->there));
	ASSERT_EQ(77, run(&self->ring));
	EXPECT_EQ(range.length, ptd_check(to + 1000, range.length, 1));
	EXPECT_EQ(1000, ptd_check_poison(to, 1000));
	EXPECT_EQ(4096, ptd_check_poison(to + 1000 + range.length, 4096));

	sqe = io_uring_get_sqe(&self->ring);
	ASSERT_EQ(0, p2pbuf_rdma_prep_write(sqe, self->here, &range));
	ASSERT_EQ((int)range.length, run(&self->ring));
	sqe = io_uring_get_sqe(&self->ring);
	ASSERT_EQ(0, p2pbuf_rdma_prep_flush(sqe, self->here, 5, 0));
	ASSERT_EQ(0, run(&self->ring));
	memset(self->from.map, PTD_POISON, BUFFER);
	sqe = io_uring_get_sqe(&self->ring);
	ASSERT_EQ(0, p2pbuf_rdma_prep_read(sqe, self->here, &range,
					   P2PBUF_FLUSH));
	ASSERT_EQ((int)range.length, run(&self->ring));
	EXPECT_EQ(range.length, ptd_check((__u8 *)self->from.map + 3,
					  range.length, 1));

	ASSERT_EQ(0, p2pbuf_rdma_stats(self->here, &stats));
	EXPECT_EQ(0, stats.error);
	EXPECT_EQ(1, stats.reads);
	EXPECT_EQ(2, stats.writes);
	EXPECT_EQ(3 * range.length, stats.bytes);
	EXPECT_STREQ(PTD_RXE, stats.device);
	ASSERT_EQ(0, p2pbuf_rdma_recall(self->there, 5));
	sqe = io_uring_get_sqe(&self->ring);
	ASSERT_EQ(0, p2pbuf_rdma_prep_write(sqe, self->here, &range));
	EXPECT_EQ(-EACCES, run(&self->ring));
	EXPECT_EQ(0, p2pbuf_rdma_detach(self->there, 5));
	EXPECT_EQ(-ENOENT, p2pbuf_rdma_detach(self->there, 5));
}

/* One that waits for a grant, and one that waits for the peer's. */
TEST_F(lib, cancel)
{
	struct p2pbuf_rdma_attach_opts attach = {
		.size = sizeof(attach), .flags = P2PBUF_ALLOW_SYSTEM,
	};
	struct p2pbuf_rdma_range range = {
		.local_id = 1, .remote_id = 5, .length = 4096,
	};
	struct io_uring_sqe *sqe;
	__u64 data = 0;

	ASSERT_EQ(1, p2pbuf_rdma_attach(self->here, self->source, &attach,
					&self->error));
	EXPECT_EQ(-ENOENT, p2pbuf_rdma_cancel(self->here, 1));
	sqe = io_uring_get_sqe(&self->ring);
	ASSERT_EQ(0, p2pbuf_rdma_prep_write(sqe, self->here, &range));
	io_uring_sqe_set_data64(sqe, 1);
	sqe = io_uring_get_sqe(&self->ring);
	ASSERT_EQ(0, p2pbuf_rdma_prep_recv(sqe, self->here));
	io_uring_sqe_set_data64(sqe, 2);
	ASSERT_EQ(2, io_uring_submit(&self->ring));
	EXPECT_EQ(0, p2pbuf_rdma_cancel(self->here, 2));
	EXPECT_EQ(-ECANCELED, ptd_wait(&self->ring, &data));
	EXPECT_EQ(2, data);
	EXPECT_EQ(0, p2pbuf_rdma_cancel(self->here, 1));
	EXPECT_EQ(-ECANCELED, ptd_wait(&self->ring, &data));
	EXPECT_EQ(1, data);
	EXPECT_EQ(-ENOENT, p2pbuf_rdma_cancel(self->here, 1));
}

/*
 * A request that waits holds the file open. The connection ends all the same,
 * with what was granted on it.
 */
TEST_F(lib, close_ends_it)
{
	struct p2pbuf_rdma_attach_opts attach = {
		.size = sizeof(attach), .flags = P2PBUF_ALLOW_SYSTEM, .id = 5,
	};
	struct p2pbuf_rdma_range range = {
		.local_id = 5, .remote_id = 5, .length = 4096,
	};
	struct io_uring_sqe *sqe;
	int ret;

	ASSERT_EQ(5, p2pbuf_rdma_attach(self->here, self->source, &attach,
					&self->error));
	ASSERT_EQ(5, p2pbuf_rdma_attach(self->there, self->target, &attach,
					&self->error));
	ASSERT_EQ(0, p2pbuf_rdma_grant(self->there, 5,
				       P2PBUF_READ | P2PBUF_WRITE));
	sqe = io_uring_get_sqe(&self->ring);
	ASSERT_EQ(0, p2pbuf_rdma_prep_write(sqe, self->here, &range));
	ASSERT_EQ(4096, run(&self->ring));
	sqe = io_uring_get_sqe(&self->ring);
	ASSERT_EQ(0, p2pbuf_rdma_prep_recv(sqe, self->there));
	ASSERT_EQ(1, io_uring_submit(&self->ring));
	p2pbuf_rdma_close(self->there);
	self->there = NULL;
	EXPECT_EQ(-ECONNRESET, ptd_wait(&self->ring, NULL));
	memset(self->to.map, PTD_POISON, BUFFER);
	sqe = io_uring_get_sqe(&self->ring);
	ASSERT_EQ(0, p2pbuf_rdma_prep_write(sqe, self->here, &range));
	ret = run(&self->ring);
	EXPECT_TRUE(ret == -ECONNRESET || ret == -ENOTCONN ||
		    ret == -ETIMEDOUT)
		TH_LOG("%d", ret);
	EXPECT_EQ(BUFFER, ptd_check_poison(self->to.map, BUFFER));
}

#define REFUSED(_err, _call) do {					\
		self->error.text[0] = 0;				\
		EXPECT_EQ(-(_err), (_call));				\
		EXPECT_TRUE(ptl_is_sentence(&self->error))		\
			TH_LOG("'%s'", self->error.text);		\
	} while (0)

TEST_F(lib, refusals)
{
	struct p2pbuf_rdma_attach_opts attach = { .size = sizeof(attach) };
	struct p2pbuf_rdma_range range = { .local_id = 1, .remote_id = 1 };
	struct io_uring_sqe *sqe = io_uring_get_sqe(&self->ring);
	struct p2pbuf_rdma *other;

	REFUSED(EREMOTEIO, p2pbuf_rdma_attach(self->here, self->source,
					      &attach, &self->error));
	attach.flags = P2PBUF_ALLOW_SYSTEM;
	attach.id = 65;
	REFUSED(ERANGE, p2pbuf_rdma_attach(self->here, self->source, &attach,
					   &self->error));
	attach.id = 2;
	ASSERT_EQ(2, p2pbuf_rdma_attach(self->here, self->source, &attach,
					&self->error));
	REFUSED(EEXIST, p2pbuf_rdma_attach(self->here, self->source, &attach,
					   &self->error));
	REFUSED(ECONNREFUSED, p2pbuf_rdma_connect(PTD_ADDRESS, 1, &opts,
						  &other, &self->error));
	REFUSED(EADDRNOTAVAIL, p2pbuf_rdma_connect("no such host", 1, &opts,
						   &other, &self->error));
	REFUSED(ETIMEDOUT, p2pbuf_rdma_accept(self->listener, NULL, &other,
					      &self->error));
	EXPECT_EQ(-EDOM, p2pbuf_rdma_prep_write(sqe, self->here, &range));
	range.length = (1ull << 30) + 1;
	EXPECT_EQ(-EDOM, p2pbuf_rdma_prep_read(sqe, self->here, &range, 0));
	range.length = 1;
	EXPECT_EQ(-EINVAL, p2pbuf_rdma_prep_read(sqe, self->here, &range,
						 P2PBUF_FUA));
	EXPECT_EQ(-EINVAL, p2pbuf_rdma_prep_write_imm(sqe, self->here, &range,
						      1u << 31));
}

/* However often a signal comes, the time that is left is less. */
TEST_F(lib, time_limits)
{
	const struct p2pbuf_rdma_opts soon = {
		.size = sizeof(soon), .timeout_ms = 300,
	};
	struct p2pbuf_rdma *other;

	ptd_alarm_every(20, true);
	REFUSED(ETIMEDOUT, p2pbuf_rdma_accept(self->listener, &soon, &other,
					      &self->error));
	EXPECT_EQ(-ETIMEDOUT, p2pbuf_rdma_wait(self->here, 9, 300, NULL, NULL));
	ptd_alarm_every(0, true);
}

int main(int argc, char **argv)
{
	return ptd_main(argc, argv);
}
