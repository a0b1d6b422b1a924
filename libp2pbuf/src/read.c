// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * p2pbuf_read_file(): any range of a file into a buffer, and wait for it.
 *
 * Direct I/O moves whole blocks of the file. The middle of the range, from its
 * first block boundary to its last, goes to the buffer directly. What is left
 * is the head and the tail, each less than a block: their blocks are read into
 * host memory and the CPU copies the bytes that are wanted. No byte of the
 * buffer outside the range is written.
 *
 * All of it happens on a ring of its own, so that the caller's completions
 * stay the caller's.
 */

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <liburing.h>

#include "internal.h"

#define DEPTH	16
#define CHUNK	(1024 * 1024u)

/*
 * @flags: of each request
 * @pos: next byte of the file to ask for
 * @stop: no byte from here on is asked for: the middle's end, or where a
 *	request came back short
 * @busy: requests in flight
 * @result: 0, or the first error
 */
struct middle {
	struct io_uring *ring;
	struct p2pbuf_binding *binding;
	uint64_t shift;		/* buffer offset less file offset */
	uint32_t flags;
	uint64_t pos;
	uint64_t stop;
	unsigned int busy;
	int result;
};

struct part {
	uint64_t pos;
	uint32_t len;
};

/* False, and m->result says why, if the request cannot be made. */
static bool part_issue(struct middle *m, const struct part *part, unsigned int i)
{
	const uint64_t buf_off = part->pos + m->shift;
	struct io_uring_sqe *sqe;

	/* First, because an SQE that was taken cannot be given back. */
	m->result = p2pbuf_check(m->binding, P2PBUF_READ, buf_off, part->len,
				 part->pos, m->flags, NULL);
	if (m->result)
		return false;
	sqe = io_uring_get_sqe(m->ring);
	p2pbuf_prep_read(sqe, m->binding, buf_off, part->len, part->pos,
			 m->flags);
	sqe->user_data = i;
	m->busy++;

	return true;
}

static void part_done(struct middle *m, struct part *part, unsigned int i, int res)
{
	uint32_t block = m->binding->limits.block_size;

	m->busy--;
	if (res < 0) {
		if (!m->result)
			m->result = res;
		part->len = 0;
		return;
	}
	part->pos += res;
	part->len -= res;
	if (!part->len)
		return;
	/* The file ends here, unless whole blocks came: then ask again. */
	if (!res || res % block) {
		if (part->pos < m->stop)
			m->stop = part->pos;
		part->len = 0;
	} else if (m->result || !part_issue(m, part, i)) {
		part->len = 0;
	}
}

static void middle_issue(struct middle *m, struct part *parts)
{
	unsigned int i;

	for (i = 0; i < DEPTH && !m->result && m->pos < m->stop; i++) {
		if (parts[i].len)
			continue;
		parts[i].pos = m->pos;
		parts[i].len = m->stop - m->pos < CHUNK ? m->stop - m->pos : CHUNK;
		m->pos += parts[i].len;
		if (!part_issue(m, &parts[i], i))
			parts[i].len = 0;
	}
}

/*
 * The ring takes no more. What it took before has to end here, or the disk
 * would write to the buffer while the caller believes it is his again.
 */
static void middle_abandon(struct middle *m, int error)
{
	struct io_uring_cqe *cqe;
	int ret;

	if (!m->result)
		m->result = error;
	m->busy -= io_uring_sq_ready(m->ring);
	while (m->busy) {
		ret = io_uring_wait_cqe(m->ring, &cqe);
		if (ret == -EINTR)
			continue;
		if (ret < 0)
			break;
		io_uring_cqe_seen(m->ring, cqe);
		m->busy--;
	}
}

/* Bytes read, fewer than asked for where the file ends; -errno. */
static int64_t middle_read(struct middle *m)
{
	struct part parts[DEPTH] = { 0 };
	const uint64_t start = m->pos;
	struct io_uring_cqe *cqe;
	unsigned int i;
	int ret;

	for (;;) {
		middle_issue(m, parts);
		if (!m->busy)
			break;
		ret = io_uring_submit_and_wait(m->ring, 1);
		if (ret < 0 && ret != -EINTR) {
			middle_abandon(m, ret);
			break;
		}
		while (!io_uring_peek_cqe(m->ring, &cqe)) {
			i = cqe->user_data;
			part_done(m, &parts[i], i, cqe->res);
			io_uring_cqe_seen(m->ring, cqe);
		}
	}

	return m->result ? m->result : (int64_t)(m->stop - start);
}

struct whole {
	struct p2pbuf_buffer *buf;
	struct p2pbuf_binding *binding;
	struct io_uring ring;
	struct p2pbuf_error *error;
	int fd;
	uint64_t shift;
};

/*
 * [@from, @to) of the file by way of host memory; it lies within one block.
 * Bytes copied, fewer where the file ends; -errno.
 */
static int64_t edge_read(struct whole *w, uint64_t from, uint64_t to)
{
	const uint32_t block = w->binding->limits.block_size;
	const uint64_t at = from + w->shift, page = at & ~(P2PBUF_PAGE - 1ull);
	const size_t skip = from % block;
	void *bounce, *ptr;
	size_t want = to - from, map_len = at + want - page;
	ssize_t got;
	int64_t ret;

	if (posix_memalign(&bounce, block > P2PBUF_PAGE ? block : P2PBUF_PAGE,
			   block))
		return -ENOMEM;
	do {
		got = pread(w->fd, bounce, block, from - skip);
	} while (got < 0 && errno == EINTR);
	if (got < 0) {
		ret = -errno;
		goto free;
	}
	if ((size_t)got <= skip) {
		ret = 0;
		goto free;
	}
	if (want > got - skip)
		want = got - skip;

	ptr = mmap(NULL, map_len, PROT_READ | PROT_WRITE, MAP_SHARED,
		   w->buf->fd, page);
	if (ptr == MAP_FAILED) {
		ret = -errno;
		goto free;
	}
	ret = p2pbuf_sync_begin(w->buf, P2PBUF_WRITE);
	if (!ret) {
		memcpy((char *)ptr + (at - page), (char *)bounce + skip, want);
		ret = p2pbuf_sync_end(w->buf, P2PBUF_WRITE);
	}
	munmap(ptr, map_len);
	if (!ret)
		ret = want;
free:
	free(bounce);
	return ret;
}

static int64_t io_failed(struct whole *w, int64_t code)
{
	p2pbuf_explain(w->binding, code, w->error);
	return code;
}

/* [@from, @to) of the file: head, middle, tail. */
static int64_t whole_read(struct whole *w, uint64_t from, uint64_t to)
{
	const struct p2pbuf_limits *limits = &w->binding->limits;
	const uint32_t block = limits->block_size;
	uint64_t first, last, pos = from;
	int64_t ret;

	if (to > limits->capacity)
		to = limits->capacity;
	if (from >= to)
		return 0;
	first = (from + block - 1) / block * block;
	if (first > to)
		first = to;
	last = to / block * block;
	if (pos < first) {
		ret = edge_read(w, pos, first);
		if (ret < 0)
			return io_failed(w, ret);
		pos += ret;
		if (pos < first)
			return pos - from;
	}
	if (pos < last) {
		struct middle m = {
			.ring = &w->ring,
			.binding = w->binding,
			.shift = w->shift - limits->offset,
			.flags = limits->no_flush ? 0 : P2PBUF_FLUSH,
			.pos = pos,
			.stop = last,
		};

		ret = middle_read(&m);
		if (ret < 0)
			return io_failed(w, ret);
		pos += ret;
		if (pos < last)
			return pos - from;
	}
	if (pos < to) {
		ret = edge_read(w, pos, to);
		if (ret < 0)
			return io_failed(w, ret);
		pos += ret;
	}

	return pos - from;
}

/* The middle, if there is one, must go where the disk can put it. */
static int judge_shift(const struct whole *w, uint64_t from, uint64_t to,
		       struct p2pbuf_error *error)
{
	const uint32_t unit = w->binding->limits.buf_align;
	const uint32_t block = w->binding->limits.block_size;

	if ((from + block - 1) / block >= to / block ||
	    !(w->shift & (unit - 1)))
		return 0;
	return p2pbuf_fail(error, EINVAL,
			   "the offset in the buffer less that in %s must be a multiple of %u, as direct I/O has it",
			   w->binding->target, unit);
}

/*
 * Requests that cannot flush are flushed for here. Of what the CPU copied the
 * end of its access takes care.
 */
static int64_t flush_for(struct whole *w, int64_t done)
{
	int ret;

	if (done <= 0 || !w->binding->limits.no_flush)
		return done;
	ret = p2pbuf_flush(w->buf);
	if (!ret)
		return done;
	return p2pbuf_fail(w->error, -ret,
			   "%s was read, but not flushed, so its bytes may not be visible in the buffer yet: %s",
			   w->binding->target, strerrordesc_np(-ret));
}

int64_t p2pbuf_read_file(struct p2pbuf_buffer *buf, uint64_t buf_off,
			 uint64_t len, int fd, uint64_t file_off,
			 uint32_t flags, struct p2pbuf_error *error)
{
	struct p2pbuf_bind_opts opts = { .size = sizeof(opts), .flags = flags };
	struct whole w = {
		.buf = buf,
		.fd = fd,
		.error = error,
		.shift = buf_off - file_off,
	};
	int64_t ret;

	if (flags & ~P2PBUF_ALLOW_SYSTEM)
		return p2pbuf_fail(error, EINVAL, "unknown flags %#x",
				   flags & ~P2PBUF_ALLOW_SYSTEM);
	if (!len || len > INT64_MAX - file_off || file_off > INT64_MAX)
		return p2pbuf_fail(error, EINVAL,
				   "%llu bytes from %llu are no range of a file",
				   (unsigned long long)len,
				   (unsigned long long)file_off);
	if (buf_off > buf->length || len > buf->length - buf_off)
		return p2pbuf_fail(error, ERANGE,
				   "%llu bytes from %llu are outside the buffer of %llu bytes",
				   (unsigned long long)len,
				   (unsigned long long)buf_off,
				   (unsigned long long)buf->length);

	opts.offset = buf_off & ~(P2PBUF_PAGE - 1ull);
	opts.length = ((buf_off + len + P2PBUF_PAGE - 1) &
		       ~(P2PBUF_PAGE - 1ull)) - opts.offset;
	ret = io_uring_queue_init(DEPTH * 2, &w.ring, 0);
	if (ret < 0)
		return p2pbuf_fail(error, -ret, "cannot make a ring: %s",
				   strerrordesc_np(-ret));
	ret = p2pbuf_bind(&w.ring, buf, fd, &opts, &w.binding, error);
	if (ret < 0)
		goto exit;
	ret = judge_shift(&w, file_off, file_off + len, error);
	if (!ret)
		ret = flush_for(&w, whole_read(&w, file_off, file_off + len));
	p2pbuf_unbind(w.binding);
exit:
	io_uring_queue_exit(&w.ring);
	return ret;
}
