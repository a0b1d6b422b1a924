/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What gpu-app, its mover and storage-app agree on.
 *
 * gpu-app owns the memory and leads. It listens on a SOCK_SEQPACKET UNIX
 * socket, passes the buffer to whoever connects, and then sends requests, each
 * answered by one reply. Times are CLOCK_MONOTONIC, which all processes of a
 * machine share: that is how moves are told from moves while I/O was in
 * flight.
 */
#ifndef DEMO_H
#define DEMO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include <p2pbuf.h>

#define MIB	(1024 * 1024.0)

enum demo_op {
	DEMO_READ = 1,		/* disk to VRAM */
	DEMO_WRITE = 2,		/* VRAM to disk */
};

struct demo_request {
	uint32_t op;
	uint32_t pad;
	uint64_t disk_offset;
	uint64_t length;
};

/*
 * @result: 0 or -errno, with its reason in @text
 * @path: enum p2pbuf_path after the last request
 * @bytes_peer, @bytes_system: moved by this request, by where the buffer was
 * @start_ns: before the first submission
 * @end_ns: after the last completion
 *
 * The first reply comes unasked: the binding was made, or why not.
 */
struct demo_reply {
	int32_t result;
	uint32_t path;
	uint64_t bytes_peer;
	uint64_t bytes_system;
	uint64_t start_ns;
	uint64_t end_ns;
	char text[256];
};

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static inline double mib_s(uint64_t bytes, uint64_t ns)
{
	return ns ? bytes / MIB / (ns / 1e9) : 0;
}

/* ---- mover.c ---- */

#define MOVER_MOVES	65536

/*
 * Shared by gpu-app and its mover process.
 * @active: gpu-app wants moves now
 * @parked: the mover has seen that it does not, and the buffer is in VRAM
 * @quit: the mover is to end
 * @error: errno of a move that failed; the mover has ended then
 * @count: moves done
 * @moves: when each of them began and ended
 */
struct mover_page {
	atomic_bool active;
	atomic_bool parked;
	atomic_bool quit;
	atomic_int error;
	atomic_uint count;
	struct {
		uint64_t start_ns;
		uint64_t end_ns;
	} moves[MOVER_MOVES];
};

struct mover {
	struct mover_page *page;
	int sock;
	pid_t pid;
};

/* Forks; call it before anything is opened that a third process should not have. */
int mover_start(struct mover *mover, const char *exporter);
int mover_give(struct mover *mover, struct p2pbuf_buffer *buf,
	       struct p2pbuf_error *error);
void mover_run(struct mover *mover);
/* Returns when the buffer is in VRAM and stays there; -errno if a move failed. */
int mover_park(struct mover *mover);
/* Moves that began and ended within the time, from the @first on. */
unsigned int mover_count(const struct mover *mover, unsigned int first,
			 uint64_t start_ns, uint64_t end_ns);
void mover_stop(struct mover *mover);

/* ---- verify.c ---- */

#define SHA256_HEX	65

void sha256_hex(const void *bytes, size_t len, char hex[SHA256_HEX]);
/* All of [offset, offset + len) of an O_DIRECT file, aligned memory: 0, -errno */
int disk_read(int fd, void *bytes, size_t len, uint64_t offset);
int disk_write(int fd, const void *bytes, size_t len, uint64_t offset);
/* Offset of the first byte that differs, or @len. */
size_t first_difference(const void *a, const void *b, size_t len);

#endif /* DEMO_H */
