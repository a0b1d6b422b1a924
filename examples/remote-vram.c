// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * From one machine's NVMe drive to another machine's VRAM.
 *
 *	remote-vram receive ADDRESS PORT [ROUNDS]
 *	remote-vram send ADDRESS PORT NAMESPACE [ROUNDS]
 *
 * Each of ROUNDS rounds (8, and as many on both sides) the sender reads a part
 * of the drive into its own VRAM, peer to peer, and writes that to the
 * receiver's VRAM by RDMA, with the SHA-256 of what the drive holds. The
 * receiver compares, and says so. Meanwhile both exporters move their memory to
 * and fro: neither program notices, and no byte is lost.
 *
 *	buffer 1	the data, VRAM on both sides
 *	buffer 2	a page for what they tell each other
 *
 * A round ends with a write that carries its number as immediate data, in each
 * direction. After the last round the receiver has one more word, that its
 * last one was heard, and the sender leaves.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <liburing.h>

#include "demo.h"

#define BYTES		(8u << 20)
#define BLOCK		(256u << 10)
#define ROUNDS		8	/* unless told otherwise */
#define MOVE_US		10000	/* between two moves, and as long as one takes */
#define BUSY_TRIES	10
#define NOTE		4096
#define POISON		0x5a
#define SECONDS		120

static unsigned int rounds = ROUNDS;
static struct p2pbuf_error error = { .size = sizeof(error) };

static int must(const char *what, int ret)
{
	if (ret >= 0)
		return ret;
	fprintf(stderr, "remote-vram: %s: %s\n", what,
		error.text[0] ? error.text : p2pbuf_strerror(ret));
	exit(1);
}

/* Of the operating system, not of the library. */
static int must_os(const char *what, int ret)
{
	if (ret >= 0)
		return ret;
	fprintf(stderr, "remote-vram: %s: %s\n", what, strerror(-ret));
	exit(1);
}

/* What the sides tell each other, in buffer 2. */
struct note {
	char digest[SHA256_HEX];
	char verdict[8];
};

/**
 * struct side - one machine's part
 * @gpu: exporter of the data
 * @data: buffer 1
 * @note: buffer 2
 * @data_map: the CPU's mapping of @data
 * @note_map: of @note
 * @rdma: the connection
 * @ring: with large SQEs; the drive's requests fit, too
 * @moves: done by the mover
 * @quit: the mover is to end
 * @error: of a move that failed
 */
struct side {
	struct p2pbuf_exporter *gpu;
	struct p2pbuf_buffer *data;
	struct p2pbuf_buffer *note;
	void *data_map;
	struct note *note_map;
	struct p2pbuf_rdma *rdma;
	struct io_uring ring;
	pthread_t mover;
	atomic_uint moves;
	atomic_bool quit;
	atomic_int error;
};

/*
 * Where requests take longer than an exporter waits for them, it gives a move
 * up with EBUSY, and all is as it was.
 */
static int move_to(struct side *s, uint32_t place)
{
	unsigned int tries = 0;
	int ret;

	do
		ret = p2pbuf_move(s->data, place, 0, NULL);
	while (ret == -EBUSY && tries++ < BUSY_TRIES);
	return ret;
}

static void *move(void *arg)
{
	static const uint32_t places[] = {
		P2PBUF_PLACEMENT_SYSTEM, P2PBUF_PLACEMENT_VRAM,
	};
	struct side *s = arg;
	uint64_t start;
	unsigned int i;
	int ret;

	/* Ends in VRAM, after an even number. */
	for (i = 0; !atomic_load(&s->quit) || i % 2; i++) {
		start = now_ns();
		ret = move_to(s, places[i % 2]);
		if (ret) {
			atomic_store(&s->error, -ret);
			break;
		}
		atomic_fetch_add(&s->moves, 1);
		/* Where moves are slow, the data gets on between them. */
		usleep(MOVE_US + (now_ns() - start) / 1000);
	}
	return NULL;
}

static void side_buffers(struct side *s)
{
	struct p2pbuf_exporter_info info = { .size = sizeof(info) };
	void *map;

	must("exporter", p2pbuf_exporter_open(NULL, &s->gpu, &error));
	must("exporter", p2pbuf_exporter_info(s->gpu, &info));
	must("data", p2pbuf_alloc(s->gpu, BYTES, NULL, &s->data, &error));
	must("note", p2pbuf_alloc(s->gpu, NOTE, NULL, &s->note, &error));
	must("map", p2pbuf_map(s->data, 0, 0, P2PBUF_READ | P2PBUF_WRITE,
			       &s->data_map));
	must("map", p2pbuf_map(s->note, 0, 0, P2PBUF_READ | P2PBUF_WRITE,
			       &map));
	s->note_map = map;
	must("ring", io_uring_queue_init(64, &s->ring, IORING_SETUP_SQE128));
	printf("remote-vram: %u MiB of VRAM on %s\n", BYTES >> 20, info.device);
}

/* Both buffers, by their numbers; the peer may write to what it has to. */
static void side_attach(struct side *s, uint32_t data_rights)
{
	struct p2pbuf_rdma_attach_opts opts = { .size = sizeof(opts), .id = 1 };

	must("attach", p2pbuf_rdma_attach(s->rdma, s->data, &opts, &error));
	opts.id = 2;
	must("attach", p2pbuf_rdma_attach(s->rdma, s->note, &opts, &error));
	if (data_rights)
		must("grant", p2pbuf_rdma_grant(s->rdma, 1, data_rights));
	must("grant", p2pbuf_rdma_grant(s->rdma, 2, P2PBUF_WRITE));
}

/*
 * The CPU's own access goes between these two, which wait for the devices' and
 * see to it that each finds what the other wrote.
 */
static void cpu_begin(struct p2pbuf_buffer *buf, uint32_t access)
{
	must("sync", p2pbuf_sync_begin(buf, access));
}

static void cpu_end(struct p2pbuf_buffer *buf, uint32_t access)
{
	must("sync", p2pbuf_sync_end(buf, access));
}

static void note_read(struct side *s, struct note *note)
{
	cpu_begin(s->note, P2PBUF_READ);
	memcpy(note, s->note_map, sizeof(*note));
	cpu_end(s->note, P2PBUF_READ);
	/* It comes from another machine. */
	note->digest[SHA256_HEX - 1] = '\0';
	note->verdict[sizeof(note->verdict) - 1] = '\0';
}

static void note_write(struct side *s, const struct note *note)
{
	cpu_begin(s->note, P2PBUF_WRITE);
	memcpy(s->note_map, note, sizeof(*note));
	cpu_end(s->note, P2PBUF_WRITE);
}

static void data_poison(struct side *s)
{
	cpu_begin(s->data, P2PBUF_WRITE);
	memset(s->data_map, POISON, BYTES);
	cpu_end(s->data, P2PBUF_WRITE);
}

static void data_digest(struct side *s, char hex[SHA256_HEX])
{
	cpu_begin(s->data, P2PBUF_READ);
	sha256_hex(s->data_map, BYTES, hex);
	cpu_end(s->data, P2PBUF_READ);
}

/* Submit what is prepared and wait for @count completions of @bytes each. */
static void side_run(struct side *s, const char *what, unsigned int count,
		     int bytes)
{
	struct io_uring_cqe *cqe;

	must("submit", io_uring_submit(&s->ring));
	while (count--) {
		must("wait", io_uring_wait_cqe(&s->ring, &cqe));
		must(what, cqe->res);
		if (bytes >= 0 && cqe->res != bytes)
			must(what, -EIO);
		io_uring_cqe_seen(&s->ring, cqe);
	}
}

/* What is prepared is one request: its result. */
static int side_result(struct side *s)
{
	struct io_uring_cqe *cqe;
	int ret;

	must("submit", io_uring_submit(&s->ring));
	must("wait", io_uring_wait_cqe(&s->ring, &cqe));
	ret = cqe->res;
	io_uring_cqe_seen(&s->ring, cqe);
	return ret;
}

/* The note, and @round with it; bytes, or why not. */
static int side_try_tell(struct side *s, unsigned int round)
{
	const struct p2pbuf_rdma_range range = {
		.local_id = 2, .remote_id = 2, .length = NOTE,
	};

	must("tell", p2pbuf_rdma_prep_write_imm(io_uring_get_sqe(&s->ring),
						s->rdma, &range, round));
	return side_result(s);
}

/* The round that the peer tells of, or why it does not. */
static int side_try_listen(struct side *s)
{
	must("listen", p2pbuf_rdma_prep_recv(io_uring_get_sqe(&s->ring),
					     s->rdma));
	return side_result(s);
}

static void side_tell(struct side *s, unsigned int round)
{
	if (must("tell", side_try_tell(s, round)) != NOTE)
		must("tell", -EIO);
}

static unsigned int side_listen(struct side *s)
{
	return must("listen", side_try_listen(s));
}

/*
 * Who leaves as soon as he has heard the last word may be faster than his NIC,
 * which has yet to say that it came. So one more word tells that the last one
 * has ended; what becomes of this one does not matter. Then the peer leaves.
 */
static void side_part(struct side *s)
{
	side_try_tell(s, rounds);
	side_try_listen(s);
}

static void side_end(struct side *s, const char *what, uint64_t ns)
{
	struct p2pbuf_rdma_stats stats = { .size = sizeof(stats) };

	atomic_store(&s->quit, true);
	pthread_join(s->mover, NULL);
	must("a move", -atomic_load(&s->error));
	must("stats", p2pbuf_rdma_stats(s->rdma, &stats));
	printf("remote-vram: %s bytes=%llu moves=%u recalls=%llu lost=0 mib_s=%.1f\n",
	       what, (unsigned long long)BYTES * rounds, atomic_load(&s->moves),
	       (unsigned long long)stats.recalls,
	       mib_s((uint64_t)BYTES * rounds, ns));
}

/* ---- sender ---- */

static void read_drive(struct side *s, struct p2pbuf_binding *drive,
		       uint64_t offset)
{
	uint32_t done;

	for (done = 0; done < BYTES; done += BLOCK)
		must("read", p2pbuf_prep_read(io_uring_get_sqe(&s->ring), drive,
					      done, BLOCK, offset + done,
					      P2PBUF_FLUSH));
	side_run(s, "reading the drive", BYTES / BLOCK, BLOCK);
}

static void write_peer(struct side *s)
{
	struct p2pbuf_rdma_range range = {
		.local_id = 1, .remote_id = 1, .length = BLOCK,
	};

	for (; range.local_offset < BYTES; range.local_offset += BLOCK) {
		range.remote_offset = range.local_offset;
		must("write", p2pbuf_rdma_prep_write(io_uring_get_sqe(&s->ring),
						     s->rdma, &range));
	}
	side_run(s, "RDMA", BYTES / BLOCK, BLOCK);
}

static int send_all(const char *address, uint16_t port, const char *name)
{
	const struct p2pbuf_rdma_opts opts = {
		.size = sizeof(opts), .timeout_ms = SECONDS * 1000,
		.recall_ms = 60000, .wait_ms = SECONDS * 1000,
	};
	struct p2pbuf_binding *drive;
	uint64_t start, ns = 0;
	struct note note = {};
	struct side s = {};
	unsigned int round;
	void *host;
	int fd;

	fd = open(name, O_RDONLY | O_DIRECT | O_CLOEXEC);
	must_os(name, fd < 0 ? -errno : fd);
	host = aligned_alloc(NOTE, BYTES);
	must_os("memory", host ? 0 : -ENOMEM);
	side_buffers(&s);
	must("bind", p2pbuf_bind(&s.ring, s.data, fd, NULL, &drive, &error));
	must("connect", p2pbuf_rdma_connect(address, port, &opts, &s.rdma,
					    &error));
	side_attach(&s, 0);
	must_os("mover", -pthread_create(&s.mover, NULL, move, &s));
	for (round = 0; round < rounds; round++) {
		/* What it has to be, read the ordinary way. */
		must_os("drive", disk_read(fd, host, BYTES,
					   (uint64_t)round * BYTES));
		sha256_hex(host, BYTES, note.digest);
		note_write(&s, &note);
		read_drive(&s, drive, (uint64_t)round * BYTES);
		start = now_ns();
		write_peer(&s);
		ns += now_ns() - start;
		side_tell(&s, round);
		if (side_listen(&s) != round)
			must("a round", -EPROTO);
		note_read(&s, &note);
		if (strcmp(note.verdict, "right")) {
			fprintf(stderr, "remote-vram: round %u was wrong\n",
				round);
			return 1;
		}
	}
	side_end(&s, "sent", ns);
	if (side_listen(&s) != rounds)
		must("the last word", -EPROTO);
	p2pbuf_rdma_close(s.rdma);
	return 0;
}

/* ---- receiver ---- */

static int receive_all(const char *address, uint16_t port)
{
	const struct p2pbuf_rdma_opts opts = {
		.size = sizeof(opts), .timeout_ms = SECONDS * 1000,
		.recall_ms = 60000, .wait_ms = SECONDS * 1000,
	};
	struct p2pbuf_rdma *listener;
	struct side s = {};
	char hex[SHA256_HEX];
	struct note note;
	unsigned int round;
	uint64_t start;
	bool right;

	side_buffers(&s);
	data_poison(&s);
	must("listen", p2pbuf_rdma_listen(address, port, &listener, &error));
	printf("remote-vram: listening on port %d\n",
	       p2pbuf_rdma_port(listener));
	fflush(stdout);
	must("accept", p2pbuf_rdma_accept(listener, &opts, &s.rdma, &error));
	side_attach(&s, P2PBUF_WRITE);
	must_os("mover", -pthread_create(&s.mover, NULL, move, &s));
	start = now_ns();
	for (round = 0; round < rounds; round++) {
		if (side_listen(&s) != round)
			must("a round", -EPROTO);
		data_digest(&s, hex);
		note_read(&s, &note);
		right = !strcmp(hex, note.digest);
		printf("remote-vram: round %u: SHA-256 %.16s... %s\n", round,
		       hex, right ? "right" : "WRONG");
		/* Nothing of it helps the next one. */
		data_poison(&s);
		strcpy(note.verdict, right ? "right" : "wrong");
		note_write(&s, &note);
		side_tell(&s, round);
		if (!right)
			return 1;
	}
	side_end(&s, "received", now_ns() - start);
	side_part(&s);
	p2pbuf_rdma_close(s.rdma);
	p2pbuf_rdma_close(listener);
	return 0;
}

/* Of the arguments the last one, if there are that many. */
static bool rounds_given(int argc, char **argv, int at)
{
	char *end;

	if (argc == at)
		return true;
	if (argc != at + 1)
		return false;
	rounds = strtoul(argv[at], &end, 10);
	return rounds && !*end;
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "receive") &&
	    rounds_given(argc, argv, 4))
		return receive_all(argv[2], atoi(argv[3]));
	if (argc > 1 && !strcmp(argv[1], "send") &&
	    rounds_given(argc, argv, 5))
		return send_all(argv[2], atoi(argv[3]), argv[4]);
	fprintf(stderr,
		"usage: remote-vram receive ADDRESS PORT [ROUNDS]\n       remote-vram send ADDRESS PORT NAMESPACE [ROUNDS]\n");
	return 2;
}
