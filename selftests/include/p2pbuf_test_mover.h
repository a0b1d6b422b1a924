/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A thread that moves a buffer of the mock about, in each of the mock's ways, for
 * as long as a test does I/O on it.
 */
#ifndef P2PBUF_TEST_MOVER_H
#define P2PBUF_TEST_MOVER_H

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "p2pbuf_test_mock.h"

/**
 * struct ptm_mover - the thread; @moves may be read meanwhile
 * @mock: open file of the mock
 * @buf: the buffer
 * @placement: where it goes
 * @stop: asked to stop
 * @moves: how often it did
 * @error: what went wrong
 * @thread: the thread
 */
struct ptm_mover {
	int mock;
	int buf;
	__u32 placement;
	int stop;
	unsigned int moves;
	int error;
	pthread_t thread;
};

static inline int ptm_mover_step(struct ptm_mover *m)
{
	static const __u32 flags[] = {
		0, P2PBUF_MOCK_PIPELINED, P2PBUF_MOCK_RESERVE_FIRST,
	};
	int id, ret;

	if (m->moves % 4 < 3)
		return ptm_move(m->mock, m->buf, m->placement,
				flags[m->moves % 4]);
	id = ptm_hold(m->mock, m->buf, P2PBUF_MOCK_HOLD_KFD, PTM_LONG_MS);
	if (id < 0)
		return id;
	ptm_call(m->mock, P2PBUF_MOCK_RELEASE, id);
	ret = ptm_hold_wait(m->mock, id, P2PBUF_MOCK_HOLD_DONE,
			    2 * PTM_LONG_MS);
	ptm_call(m->mock, P2PBUF_MOCK_CLOSE, id);
	return ret;
}

static inline void *ptm_mover_run(void *arg)
{
	struct ptm_mover *m = arg;

	while (!__atomic_load_n(&m->stop, __ATOMIC_ACQUIRE) && !m->error) {
		m->error = ptm_mover_step(m);
		__atomic_fetch_add(&m->moves, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* 0 or -errno; @mock and @buf stay open until ptm_mover_stop(). */
static inline int ptm_mover_start(struct ptm_mover *m, int mock, int buf,
				  __u32 placement)
{
	*m = (struct ptm_mover){
		.mock = mock, .buf = buf, .placement = placement,
	};
	return -pthread_create(&m->thread, NULL, ptm_mover_run, m);
}

/* What went wrong, or 0; -ENODATA if it has not moved more than once. */
static inline int ptm_mover_stop(struct ptm_mover *m)
{
	__atomic_store_n(&m->stop, 1, __ATOMIC_RELEASE);
	pthread_join(m->thread, NULL);
	/* An assertion that follows would lose what stdio keeps. */
	dprintf(STDOUT_FILENO, "# %u moves and evictions\n", m->moves);
	return m->error ?: m->moves > 1 ? 0 : -ENODATA;
}

#endif /* P2PBUF_TEST_MOVER_H */
