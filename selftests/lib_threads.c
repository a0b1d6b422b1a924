// SPDX-License-Identifier: GPL-2.0
/*
 * The library has no global state and its handles may be shared: threads that
 * import one object on one exporter, bind siblings of one binding, and refuse
 * things at the same time must not see each other.
 */

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <liburing.h>

#include "p2pbuf_test_lib.h"
#include "kselftest_harness.h"

#define SIZE	(256 * 1024)
#define THREADS	4
#define ROUNDS	100

struct shared {
	struct p2pbuf_exporter *exporter;
	struct p2pbuf_buffer *buf;
	struct p2pbuf_binding *binding;
	int disk;
	uint32_t flags;
};

struct worker {
	pthread_t thread;
	struct shared *shared;
	unsigned int number;
	int result;
	const char *where;
};

FIXTURE(threads)
{
	struct shared shared;
	struct worker workers[THREADS];
	int fds;
};

FIXTURE_SETUP(threads)
{
	struct p2pbuf_error error = { .size = sizeof(error) };

	self->shared.disk = -1;
	self->fds = ptl_count_fds();
	if (p2pbuf_exporter_open(NULL, &self->shared.exporter, &error))
		SKIP(return, "%s", error.text);
	ASSERT_EQ(0, p2pbuf_alloc(self->shared.exporter, SIZE, NULL,
				  &self->shared.buf, NULL));
}

FIXTURE_TEARDOWN(threads)
{
	if (!self->shared.exporter)
		return;
	p2pbuf_unbind(self->shared.binding);
	p2pbuf_free(self->shared.buf);
	p2pbuf_exporter_close(self->shared.exporter);
	if (self->shared.disk >= 0)
		close(self->shared.disk);
	EXPECT_EQ(self->fds, ptl_count_fds());
}

/* Start them all, wait for them all; @self and @_metadata are the test's. */
#define RUN(fn) do {							\
	unsigned int i;							\
									\
	for (i = 0; i < THREADS; i++) {					\
		self->workers[i].shared = &self->shared;		\
		self->workers[i].number = i;				\
		ASSERT_EQ(0, pthread_create(&self->workers[i].thread,	\
					    NULL, fn,			\
					    &self->workers[i]));	\
	}								\
	for (i = 0; i < THREADS; i++) {					\
		pthread_join(self->workers[i].thread, NULL);		\
		EXPECT_EQ(0, self->workers[i].result) {			\
			TH_LOG("%s", self->workers[i].where);		\
		}							\
	}								\
} while (0)

static void *fail(struct worker *worker, const char *where, int result)
{
	worker->where = where;
	worker->result = result ? result : -EBADE;
	return NULL;
}

/* All threads get the same GEM handle, and drop it again and again. */
static void *import_and_free(void *arg)
{
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };
	struct worker *worker = arg;
	struct shared *shared = worker->shared;
	struct p2pbuf_buffer *buf;
	int fd, ret, i;

	for (i = 0; i < ROUNDS; i++) {
		fd = p2pbuf_export_fd(shared->buf);
		ret = p2pbuf_import(fd, &buf, NULL);
		close(fd);
		if (ret)
			return fail(worker, "import", ret);
		ret = p2pbuf_set_exporter(buf, shared->exporter, NULL);
		if (ret)
			return fail(worker, "set_exporter", ret);
		ret = p2pbuf_query(buf, &info);
		if (ret || info.placement != P2PBUF_PLACEMENT_VRAM)
			return fail(worker, "query", ret);
		p2pbuf_free(buf);
	}
	return NULL;
}

TEST_F(threads, share_a_handle)
{
	struct p2pbuf_buffer_info info = { .size = sizeof(info) };

	RUN(import_and_free);
	EXPECT_EQ(0, p2pbuf_query(self->shared.buf, &info));
}

/* Every thread has its own ring, its own siblings and its own reasons. */
static void *bind_and_read(void *arg)
{
	struct p2pbuf_error error = { .size = sizeof(error) };
	struct p2pbuf_bind_opts opts = { .size = sizeof(opts) };
	struct worker *worker = arg;
	struct shared *shared = worker->shared;
	struct p2pbuf_binding *binding;
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	char want[32];
	int ret, i;

	ret = io_uring_queue_init(4, &ring, 0);
	if (ret)
		return fail(worker, "ring", ret);
	snprintf(want, sizeof(want), "length of %u bytes", worker->number + 1);
	opts.offset = worker->number * (SIZE / THREADS);
	opts.length = SIZE / THREADS;
	opts.flags = shared->flags;
	opts.sibling = shared->binding;
	for (i = 0; i < ROUNDS && !worker->where; i++) {
		ret = p2pbuf_bind(&ring, shared->buf, shared->disk, &opts,
				  &binding, &error);
		if (ret) {
			fail(worker, "bind", ret);
			break;
		}
		ret = p2pbuf_check(binding, P2PBUF_READ, 0, worker->number + 1,
				   0, 0, &error);
		if (ret != -EINVAL || !strstr(error.text, want))
			fail(worker, "reason", ret);
		ret = p2pbuf_prep_read(io_uring_get_sqe(&ring), binding, 0,
				       4096, 0, 0);
		io_uring_submit_and_wait(&ring, 1);
		io_uring_wait_cqe(&ring, &cqe);
		if (ret || cqe->res != 4096)
			fail(worker, "read", ret ? ret : cqe->res);
		io_uring_cqe_seen(&ring, cqe);
		p2pbuf_unbind(binding);
	}
	io_uring_queue_exit(&ring);

	return NULL;
}

TEST_F(threads, share_a_binding)
{
	struct p2pbuf_error error = { .size = sizeof(error) };
	struct p2pbuf_bind_opts opts = { .size = sizeof(opts) };
	const char *disk = getenv("P2PBUF_NVME_MAIN");
	const char *expect = getenv("P2PBUF_EXPECT_PATH");

	if (!disk || !expect)
		SKIP(return, "no NVMe drive named by P2PBUF_NVME_MAIN");
	if (!strcmp(expect, "refused"))
		self->shared.flags = P2PBUF_ALLOW_SYSTEM;
	opts.flags = self->shared.flags;
	self->shared.disk = open(disk, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->shared.disk);
	if (p2pbuf_bind(NULL, self->shared.buf, self->shared.disk, &opts,
			&self->shared.binding, &error))
		SKIP(return, "cannot bind here: %s", error.text);
	RUN(bind_and_read);
}

TEST_HARNESS_MAIN
