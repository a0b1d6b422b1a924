// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The third actor: a process that got the buffer over a socket, knows nothing
 * of the I/O, and moves the buffer between VRAM and system memory.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "demo.h"

/* Between two moves, so that I/O finds the buffer in both places. */
#define REST_US		2000

static int move_to(struct mover_page *page, struct p2pbuf_buffer *buf,
		   uint32_t placement)
{
	unsigned int i = atomic_load(&page->count);
	uint64_t start = now_ns();
	int ret;

	ret = p2pbuf_move(buf, placement, 0, NULL);
	if (ret < 0)
		return ret;
	if (i < MOVER_MOVES) {
		page->moves[i].start_ns = start;
		page->moves[i].end_ns = now_ns();
		atomic_store(&page->count, i + 1);
	}
	return 0;
}

static int move_around(struct mover_page *page, struct p2pbuf_buffer *buf)
{
	int ret;

	while (!atomic_load(&page->quit)) {
		if (!atomic_load(&page->active)) {
			atomic_store(&page->parked, true);
			usleep(500);
			continue;
		}
		ret = move_to(page, buf, P2PBUF_PLACEMENT_SYSTEM);
		if (ret < 0)
			return ret;
		usleep(REST_US);
		ret = move_to(page, buf, P2PBUF_PLACEMENT_VRAM);
		if (ret < 0)
			return ret;
		usleep(REST_US);
	}
	return 0;
}

static int mover_main(struct mover_page *page, int sock, const char *path)
{
	struct p2pbuf_meta meta = { .size = sizeof(meta) };
	struct p2pbuf_exporter *exporter;
	struct p2pbuf_buffer *buf;
	int ret;

	ret = p2pbuf_recv(sock, &buf, &meta, NULL);
	if (ret < 0)
		return ret;
	/* To move it takes its exporter, opened by this process itself. */
	ret = p2pbuf_exporter_open(path, &exporter, NULL);
	if (ret < 0)
		goto free_buffer;
	ret = p2pbuf_set_exporter(buf, exporter, NULL);
	if (!ret)
		ret = move_around(page, buf);
	p2pbuf_exporter_close(exporter);
free_buffer:
	p2pbuf_free(buf);
	return ret;
}

int mover_start(struct mover *mover, const char *exporter)
{
	int socks[2], ret;

	mover->page = mmap(NULL, sizeof(*mover->page), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (mover->page == MAP_FAILED)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0)
		return -errno;
	mover->pid = fork();
	if (mover->pid < 0)
		return -errno;
	if (!mover->pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(socks[0]);
		ret = mover_main(mover->page, socks[1], exporter);
		atomic_store(&mover->page->error, -ret);
		_exit(ret < 0);
	}
	close(socks[1]);
	mover->sock = socks[0];

	return 0;
}

int mover_give(struct mover *mover, struct p2pbuf_buffer *buf,
	       struct p2pbuf_error *error)
{
	struct p2pbuf_meta meta = { .size = sizeof(meta), .name = "demo" };

	return p2pbuf_send(mover->sock, buf, &meta, error);
}

void mover_run(struct mover *mover)
{
	atomic_store(&mover->page->parked, false);
	atomic_store(&mover->page->active, true);
}

int mover_park(struct mover *mover)
{
	struct mover_page *page = mover->page;

	/* What it says from now on, it says with the buffer in VRAM. */
	atomic_store(&page->active, false);
	atomic_store(&page->parked, false);
	while (!atomic_load(&page->parked)) {
		if (waitpid(mover->pid, NULL, WNOHANG) == mover->pid) {
			mover->pid = 0;
			return -(atomic_load(&page->error) ?: ECHILD);
		}
		usleep(500);
	}
	return 0;
}

unsigned int mover_count(const struct mover *mover, unsigned int first,
			 uint64_t start_ns, uint64_t end_ns)
{
	unsigned int i, n = 0, count = atomic_load(&mover->page->count);

	for (i = first; i < count; i++)
		n += mover->page->moves[i].start_ns >= start_ns &&
		     mover->page->moves[i].end_ns <= end_ns;
	return n;
}

void mover_stop(struct mover *mover)
{
	atomic_store(&mover->page->quit, true);
	close(mover->sock);
	if (mover->pid)
		waitpid(mover->pid, NULL, 0);
	munmap(mover->page, sizeof(*mover->page));
}
