// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Slots in the buffer table of the caller's ring.
 *
 * A kernel buffer is registered by a command, and a command needs a ring. The
 * caller's is not touched for that: its SQ may hold SQEs that are not to be
 * submitted yet, its CQ completions that are not ours to reap. The command
 * goes to a small ring of the library's, and the slot it fills is then cloned
 * into the caller's table, which is a plain system call. All of it leaves the
 * caller's SQ and CQ alone, whatever kind of ring it is.
 *
 * Cloning replaces what a slot holds without asking, so slots are looked at
 * first, through a clone of the whole table. The lock keeps two calls of this
 * library from finding the same slot empty.
 *
 * The kernel looks a request's slot up when it issues the request, which may be
 * long after it was submitted: behind a link, or in SQPOLL's queue. If its
 * binding has been ended by then the slot had better be empty still, or it would
 * get the next binding's buffer. So slots take turns, and the one that was given
 * back last is the last to be taken again. All rings share the turns: a
 * ring has no place to remember its own. They are few, because a table is as
 * long as its highest slot, and is cloned for each look.
 */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <liburing.h>

#include "internal.h"

#define BATCH		16	/* slots looked up together */
#define TURN		256	/* slots that take turns */

#ifndef IORING_NOP_FIXED_BUFFER
#define IORING_NOP_FIXED_BUFFER	(1U << 3)
#endif

static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int slots_next;		/* whose turn it is; under the lock */

int p2pbuf_ring_run(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int ret;

	ret = io_uring_submit_and_wait(ring, 1);
	while (ret >= 0 || ret == -EINTR) {
		ret = io_uring_wait_cqe(ring, &cqe);
		if (ret == -EINTR)
			continue;
		if (ret < 0)
			break;
		ret = cqe->res;
		io_uring_cqe_seen(ring, cqe);
		break;
	}

	return ret;
}

int p2pbuf_ring_clone(int to, unsigned int to_slot, int from,
		      unsigned int from_slot, unsigned int count)
{
	struct io_uring_clone_buffers clone = {
		.src_fd = from,
		.flags = IORING_REGISTER_DST_REPLACE,
		.src_off = from_slot,
		.dst_off = to_slot,
		.nr = count,
	};
	int ret = io_uring_register(to, IORING_REGISTER_CLONE_BUFFERS, &clone, 1);

	return ret < 0 ? ret : 0;
}

/*
 * Which of BATCH slots from @first hold a buffer, as bits; slots past the
 * table's end do not. -errno.
 */
static int slots_look(struct io_uring *view, unsigned int first)
{
	struct io_uring_cqe *cqe;
	unsigned int i;
	int ret, taken = 0;

	for (i = 0; i < BATCH; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(view);

		io_uring_prep_nop(sqe);
		sqe->rw_flags = IORING_NOP_FIXED_BUFFER;
		sqe->buf_index = first + i;
		sqe->user_data = i;
	}
	ret = io_uring_submit_and_wait(view, BATCH);
	/* Short of memory it takes fewer, and the others would never complete. */
	if (ret < BATCH)
		return ret < 0 ? ret : -EAGAIN;
	for (i = 0; i < BATCH; i++) {
		ret = io_uring_wait_cqe(view, &cqe);
		if (ret < 0)
			return ret;
		if (!cqe->res)
			taken |= 1 << cqe->user_data;
		else if (cqe->res != -EFAULT)
			ret = cqe->res;
		io_uring_cqe_seen(view, cqe);
		if (ret < 0)
			return ret;
	}

	return taken;
}

/* The first empty slot from @first on and below @end; -EMFILE, -errno. */
static int slots_search(struct io_uring *view, unsigned int first,
			unsigned int end)
{
	const int full = (1 << BATCH) - 1;
	unsigned int slot;
	int taken;

	for (; first < end; first += BATCH) {
		taken = slots_look(view, first);
		if (taken < 0)
			return taken;
		if (taken == full)
			continue;
		slot = first + __builtin_ctz(~taken);
		return slot < end ? (int)slot : -EMFILE;
	}

	return -EMFILE;
}

/* The slot to fill in the table that @view shows; -errno. */
static int slot_choose(struct io_uring *view, int wanted)
{
	int slot;

	if (wanted >= 0) {
		slot = slots_look(view, wanted);
		return slot < 0 ? slot : slot & 1 ? -EBUSY : wanted;
	}
	slot = slots_search(view, slots_next, TURN);
	if (slot == -EMFILE)
		slot = slots_search(view, 0, P2PBUF_SLOTS);
	return slot;
}

static int slot_fill(int ring_fd, int home_fd, int wanted)
{
	struct io_uring view;
	int slot, ret;

	ret = io_uring_queue_init(BATCH, &view, 0);
	if (ret < 0)
		return ret;
	ret = p2pbuf_ring_clone(view.ring_fd, 0, ring_fd, 0, 0);
	/* ENXIO: no table yet, so every slot is empty. */
	if (ret == -ENXIO)
		slot = wanted >= 0 ? wanted : (int)slots_next;
	else
		slot = ret < 0 ? ret : slot_choose(&view, wanted);
	/* The last reference on a buffer must not be a worker's to drop. */
	io_uring_unregister_buffers(&view);
	io_uring_queue_exit(&view);
	if (slot < 0)
		return slot;

	ret = p2pbuf_ring_clone(ring_fd, slot, home_fd, 0, 1);
	if (ret < 0)
		return ret;
	if (wanted < 0)
		slots_next = slot < TURN ? (slot + 1) % TURN : 0;
	return slot;
}

int p2pbuf_ring_fill_slot(int ring_fd, int home_fd, int wanted)
{
	int ret;

	pthread_mutex_lock(&slots_lock);
	ret = slot_fill(ring_fd, home_fd, wanted);
	pthread_mutex_unlock(&slots_lock);

	return ret;
}

int p2pbuf_ring_clear_slot(int ring_fd, unsigned int slot)
{
	struct iovec none = { 0 };
	struct io_uring_rsrc_update2 update = {
		.offset = slot,
		.data = (uintptr_t)&none,
		.nr = 1,
	};
	int ret;

	ret = io_uring_register(ring_fd, IORING_REGISTER_BUFFERS_UPDATE, &update,
				sizeof(update));
	return ret < 0 ? ret : 0;
}
