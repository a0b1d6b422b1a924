/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * libp2pbuf: storage and network I/O straight into device memory.
 *
 * The words are those of p2pbuf(7). An exporter owns device memory; a buffer
 * is a piece of it, or any other dma-buf; a binding ties a range of a buffer
 * to an NVMe namespace, another block device or a file, and I/O between the
 * two is prepared on the caller's own io_uring.
 *
 * Calls return 0, a file descriptor, a count, or -errno. Those that can refuse
 * for a reason worth a sentence take a struct p2pbuf_error, which may be NULL.
 * File descriptors given to the library are borrowed, those it returns belong
 * to the caller; all of its own are close-on-exec. Structs begin with their
 * size: set it to sizeof, zero the rest. The library keeps no global state and
 * starts no thread; calls on different handles may run at the same time, and
 * so may all calls on one handle but those that end it.
 */
#ifndef P2PBUF_H
#define P2PBUF_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <linux/p2pbuf_path.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The library hides what is not declared here. */
#pragma GCC visibility push(default)

struct io_uring;
struct io_uring_sqe;

struct p2pbuf_exporter;
struct p2pbuf_buffer;
struct p2pbuf_binding;
struct p2pbuf_rdma;

/* ---- errors ---- */

/*
 * Why a call was refused. Filled on failure only.
 * @size: sizeof(struct p2pbuf_error)
 * @code: out, the errno as a positive number
 * @text: out, one sentence, no newline, always terminated
 */
struct p2pbuf_error {
	size_t size;
	int code;
	char text[256];
};

/* What an errno of this library means in general; never NULL. */
const char *p2pbuf_strerror(int err);

/* ---- exporter ---- */

/* The region has struct pages: its buffers can be bound to files. */
#define P2PBUF_EXPORTER_PAGED	(1U << 0)

/*
 * @size: sizeof(struct p2pbuf_exporter_info)
 * @flags: P2PBUF_EXPORTER_*
 * @bar: the BAR the memory lies in
 * @vram_size: bytes of device memory
 * @vram_used: bytes of it allocated now, by anybody
 * @resident_limit: bytes this exporter handle may hold
 * @resident_used: bytes it holds
 * @pin_limit: bytes this user may pin
 * @pin_used: bytes this user has pinned
 * @page_size: unit of sizes and offsets
 * @pci: the function, as domain << 16 | bus << 8 | devfn
 * @device: the same as text, "0000:04:00.0"
 * @node: the render node, "/dev/dri/renderD128"
 * @io_priority: what sqe->ioprio has to be in requests of fixed buffers in this
 *	memory; the library's own have it. 0: not paged
 * @pad: zero
 */
struct p2pbuf_exporter_info {
	size_t size;
	uint32_t flags;
	uint32_t bar;
	uint64_t vram_size;
	uint64_t vram_used;
	uint64_t resident_limit;
	uint64_t resident_used;
	uint64_t pin_limit;
	uint64_t pin_used;
	uint32_t page_size;
	uint32_t pci;
	char device[16];
	char node[64];
	uint32_t io_priority;
	uint32_t pad;
};

/*
 * @path: a render node, a PCI function ("0000:04:00.0"), or NULL for the first
 * exporter found.
 */
int p2pbuf_exporter_open(const char *path, struct p2pbuf_exporter **exporter,
			 struct p2pbuf_error *error);
int p2pbuf_exporter_info(struct p2pbuf_exporter *exporter,
			 struct p2pbuf_exporter_info *info);
/* The open render node; it stays the library's. */
int p2pbuf_exporter_fd(struct p2pbuf_exporter *exporter);
void p2pbuf_exporter_close(struct p2pbuf_exporter *exporter);

/* ---- buffers ---- */

/* Device memory. */
#define P2PBUF_PLACEMENT_VRAM	(1U << 0)
/* Host memory. */
#define P2PBUF_PLACEMENT_SYSTEM	(1U << 1)

/* CPU access, rights of a binding, direction of p2pbuf_check(). */
#define P2PBUF_READ		(1U << 0)
#define P2PBUF_WRITE		(1U << 1)

/* Never placed in host memory; devices that cannot reach it are refused. */
#define P2PBUF_VRAM_ONLY	(1U << 0)
/* Reported only: a fixed window of the BAR. */
#define P2PBUF_WINDOW		(1U << 1)
/* Reported only: no exporter handle is known, placement is 0. */
#define P2PBUF_FOREIGN		(1U << 31)

/*
 * @size: sizeof(struct p2pbuf_alloc_opts)
 * @placement: where it is put first, P2PBUF_PLACEMENT_*; 0 is VRAM
 * @flags: P2PBUF_VRAM_ONLY or 0
 * @name: shown by the kernel's dma-buf accounting, at most 31 bytes; or NULL
 */
struct p2pbuf_alloc_opts {
	size_t size;
	uint32_t placement;
	uint32_t flags;
	const char *name;
};

/*
 * @size: sizeof(struct p2pbuf_buffer_info)
 * @placement: where it is now, or 0 when nobody can tell
 * @flags: P2PBUF_VRAM_ONLY, P2PBUF_WINDOW, P2PBUF_FOREIGN
 * @length: bytes
 * @generation: grows with each change of place
 * @evictions: changes of place that p2pbuf_move() did not ask for
 * @mappings: times an importer mapped it
 * @pins: pins held now
 * @exporter_name: the driver that exports it
 */
struct p2pbuf_buffer_info {
	size_t size;
	uint32_t placement;
	uint32_t flags;
	uint64_t length;
	uint64_t generation;
	uint64_t evictions;
	uint64_t mappings;
	uint64_t pins;
	char exporter_name[32];
};

/* Fail with EBUSY instead of waiting for I/O. */
#define P2PBUF_NOWAIT		(1U << 0)

int p2pbuf_alloc(struct p2pbuf_exporter *exporter, uint64_t length,
		 const struct p2pbuf_alloc_opts *opts,
		 struct p2pbuf_buffer **buf, struct p2pbuf_error *error);
int p2pbuf_window(struct p2pbuf_exporter *exporter, uint64_t offset,
		  uint64_t length, struct p2pbuf_buffer **buf,
		  struct p2pbuf_error *error);
int p2pbuf_import(int fd, struct p2pbuf_buffer **buf,
		  struct p2pbuf_error *error);
/* A new descriptor of the dma-buf, the caller's to close. */
int p2pbuf_export_fd(struct p2pbuf_buffer *buf);
/*
 * Lets p2pbuf_move() and p2pbuf_query() work on an imported buffer. Not while
 * other calls use @buf.
 */
int p2pbuf_set_exporter(struct p2pbuf_buffer *buf,
			struct p2pbuf_exporter *exporter,
			struct p2pbuf_error *error);
int p2pbuf_query(struct p2pbuf_buffer *buf, struct p2pbuf_buffer_info *info);
int p2pbuf_move(struct p2pbuf_buffer *buf, uint32_t placement, uint32_t flags,
		struct p2pbuf_error *error);
void p2pbuf_free(struct p2pbuf_buffer *buf);

/* CPU mapping of @length bytes (0: to the end) from @offset. */
int p2pbuf_map(struct p2pbuf_buffer *buf, uint64_t offset, size_t length,
	       uint32_t access, void **ptr);
int p2pbuf_unmap(void *ptr, size_t length);

/* What I/O brought so far is visible to the exporter's device. */
int p2pbuf_flush(struct p2pbuf_buffer *buf);

/* Brackets around CPU access; @access: P2PBUF_READ | P2PBUF_WRITE. */
int p2pbuf_sync_begin(struct p2pbuf_buffer *buf, uint32_t access);
int p2pbuf_sync_end(struct p2pbuf_buffer *buf, uint32_t access);

/* A sync_file of the fences that @access has to wait for. */
int p2pbuf_export_sync_file(struct p2pbuf_buffer *buf, uint32_t access);
/* Others that access the buffer wait for @fd; @access: what it stands for. */
int p2pbuf_import_sync_file(struct p2pbuf_buffer *buf, uint32_t access, int fd);

/* ---- passing buffers between processes ---- */

/* Deal with a peer of any user; otherwise it must be ours or root's. */
#define P2PBUF_ANY_UID		(1U << 0)
/* Deal with a peer of user p2pbuf_meta.uid only. */
#define P2PBUF_ONLY_UID		(1U << 1)

/*
 * @size: sizeof(struct p2pbuf_meta)
 * @flags: in, P2PBUF_ANY_UID, P2PBUF_ONLY_UID or 0; for send and recv
 * @uid: in with P2PBUF_ONLY_UID; recv, out: the sender's
 * @gid: recv, out: the sender's
 * @pid: recv, out: the sender's
 * @offset: first byte of the range that is meant
 * @length: bytes of it; send: 0 is up to the buffer's end
 * @buffer_length: recv, out: bytes of the whole buffer
 * @generation: recv, out: the buffer's generation when it was sent, 0 unknown
 * @name: what the application calls it; terminated
 */
struct p2pbuf_meta {
	size_t size;
	uint32_t flags;
	uid_t uid;
	gid_t gid;
	pid_t pid;
	uint64_t offset;
	uint64_t length;
	uint64_t buffer_length;
	uint64_t generation;
	char name[64];
};

int p2pbuf_send(int sock, struct p2pbuf_buffer *buf,
		const struct p2pbuf_meta *meta, struct p2pbuf_error *error);
int p2pbuf_recv(int sock, struct p2pbuf_buffer **buf, struct p2pbuf_meta *meta,
		struct p2pbuf_error *error);

/* ---- binding and I/O ---- */

/* Accept a buffer that lies in host memory. */
#define P2PBUF_ALLOW_SYSTEM	(1U << 0)
/* Fail I/O while the exporter has moved the buffer to host memory. */
#define P2PBUF_PEER_ONLY	(1U << 1)
/* Bound to a file: the caller chooses the slot of the ring's buffer table. */
#define P2PBUF_SLOT		(1U << 2)
/*
 * Bound to a file: set queue/nomerges of each disk below it, which takes the
 * right to. The setting is the disk's, for all its users, and it stays.
 */
#define P2PBUF_NOMERGES		(1U << 3)

/*
 * @size: sizeof(struct p2pbuf_bind_opts)
 * @flags: P2PBUF_ALLOW_SYSTEM or P2PBUF_PEER_ONLY, P2PBUF_SLOT, P2PBUF_NOMERGES
 * @slot: with P2PBUF_SLOT: an empty slot, or one behind the table's end; else
 *	zero
 * @offset: first byte of the buffer that is bound
 * @length: bytes bound; 0 is up to the buffer's end
 * @sibling: a binding of the same kind, whose file is used for this one's I/O
 *	too; or NULL for a file of its own. Bound to a file: a binding on the
 *	same ring, whose descriptor is shared; the call's ring is that or NULL
 */
struct p2pbuf_bind_opts {
	size_t size;
	uint32_t flags;
	uint32_t slot;
	uint64_t offset;
	uint64_t length;
	struct p2pbuf_binding *sibling;
};

#define P2PBUF_BIND_DEVICES	8

/*
 * @size: sizeof(struct p2pbuf_bind_info)
 * @flags: P2PBUF_ALLOW_SYSTEM, P2PBUF_PEER_ONLY; "file": P2PBUF_NOMERGES when
 *	no disk below merges anything now, whoever set that
 * @rights: P2PBUF_READ, P2PBUF_WRITE: directions the descriptors allow
 * @offset: first byte of the buffer that is bound
 * @length: bytes bound
 * @capacity: bytes of the file now
 * @block_size: lengths and file offsets are multiples of it
 * @buf_align: buffer offsets are multiples of it
 * @max_io: bytes the device takes at once; longer requests are split inside;
 *	0 unknown
 * @max_len: most bytes of one request
 * @path: how the device reaches the buffer now; "file": how it did when it was
 *	bound, or P2PBUF_PATH_SYSTEM while the filesystem goes by the page cache
 * @reads, @writes: commands of the device completed; a request that is split
 *	takes several
 * @bytes_peer: bytes moved peer to peer
 * @bytes_system: bytes moved while the buffer lay in host memory
 * @errors: requests that ended in an error after reaching the driver
 * @deferred: requests that had to leave the fast path
 * @invalidations: times the exporter ended a mapping
 * @table_bytes: memory of the address tables
 * @backend: how I/O is done: "nvme" is pre-mapped NVMe commands, "file" is
 *	fixed buffers; @reads to @table_bytes count "nvme" only
 * @why: one sentence about the path
 * @slot: "file": the slot of the ring's buffer table
 * @io_priority: "file": sqe->ioprio of its requests; 0 in host memory
 * @device_count: "file": drives below the file, @path is the longest way
 * @devices: the first of them, PCI functions like @path.importer
 * @pad: zero
 */
struct p2pbuf_bind_info {
	size_t size;
	uint32_t flags;
	uint32_t rights;
	uint64_t offset;
	uint64_t length;
	uint64_t capacity;
	uint32_t block_size;
	uint32_t buf_align;
	uint64_t max_io;
	uint64_t max_len;
	struct p2pbuf_path_info path;
	uint64_t reads;
	uint64_t writes;
	uint64_t bytes_peer;
	uint64_t bytes_system;
	uint64_t errors;
	uint64_t deferred;
	uint64_t invalidations;
	uint64_t table_bytes;
	char backend[16];
	char why[256];
	uint32_t slot;
	uint32_t io_priority;
	uint32_t device_count;
	uint32_t devices[P2PBUF_BIND_DEVICES];
	uint32_t pad;
};

/* The write is on stable media when its CQE arrives. */
#define P2PBUF_FUA		(1U << 0)
/* The data read is visible to the exporter's device when its CQE arrives. */
#define P2PBUF_FLUSH		(1U << 1)

int p2pbuf_bind(struct io_uring *ring, struct p2pbuf_buffer *buf, int fd,
		const struct p2pbuf_bind_opts *opts,
		struct p2pbuf_binding **binding, struct p2pbuf_error *error);
int p2pbuf_bind_info(struct p2pbuf_binding *binding,
		     struct p2pbuf_bind_info *info);
/* The file that SQEs go to, for io_uring_register_files(); not the caller's. */
int p2pbuf_bind_fd(struct p2pbuf_binding *binding);
void p2pbuf_unbind(struct p2pbuf_binding *binding);

/*
 * Fill @sqe, or return -errno and leave it untouched. @buf_off counts from the
 * bound range's first byte. The CQE's res is @len or -errno; on a file it is
 * less where a read meets the file's end.
 */
int p2pbuf_prep_read(struct io_uring_sqe *sqe, struct p2pbuf_binding *binding,
		     uint64_t buf_off, uint64_t len, uint64_t file_off,
		     uint32_t flags);
int p2pbuf_prep_write(struct io_uring_sqe *sqe, struct p2pbuf_binding *binding,
		      uint64_t buf_off, uint64_t len, uint64_t file_off,
		      uint32_t flags);
/* The same judgement without an SQE, with its reason. */
int p2pbuf_check(struct p2pbuf_binding *binding, uint32_t direction,
		 uint64_t buf_off, uint64_t len, uint64_t file_off,
		 uint32_t flags, struct p2pbuf_error *error);
/* What a CQE's negative res means on this binding. */
void p2pbuf_explain(struct p2pbuf_binding *binding, int res,
		    struct p2pbuf_error *error);

/*
 * Any range of a file into the buffer, on a binding and a ring of its own, and
 * wait for it. What does not fill a block of the file at both ends of the range
 * is copied by CPU. @flags: P2PBUF_ALLOW_SYSTEM or 0. Returns the bytes read,
 * fewer than @len where the file ends, or -errno.
 */
int64_t p2pbuf_read_file(struct p2pbuf_buffer *buf, uint64_t buf_off,
			 uint64_t len, int fd, uint64_t file_off,
			 uint32_t flags, struct p2pbuf_error *error);

/* ---- RDMA ---- */

/*
 * A connection to another machine, or what listens for one. Buffers have ids
 * in it, 1 to 64 on each side; the peer names ours, we name the peer's.
 */

/*
 * @size: sizeof(struct p2pbuf_rdma_opts)
 * @timeout_ms: to wait for the peer; 0: p2pbuf_rdma_accept() does not wait,
 *	p2pbuf_rdma_connect() waits for 10000
 * @recall_ms: the peer has to give a buffer back; 0 is 500, 60000 at most
 * @wait_ms: a request may wait for a buffer; 0 is 10000
 * @pad: zero
 */
struct p2pbuf_rdma_opts {
	size_t size;
	uint32_t timeout_ms;
	uint32_t recall_ms;
	uint32_t wait_ms;
	uint32_t pad;
};

/* @port 0: any. */
int p2pbuf_rdma_listen(const char *host, uint16_t port,
		       struct p2pbuf_rdma **listener,
		       struct p2pbuf_error *error);
int p2pbuf_rdma_port(struct p2pbuf_rdma *listener);
int p2pbuf_rdma_accept(struct p2pbuf_rdma *listener,
		       const struct p2pbuf_rdma_opts *opts,
		       struct p2pbuf_rdma **connection,
		       struct p2pbuf_error *error);
int p2pbuf_rdma_connect(const char *host, uint16_t port,
			const struct p2pbuf_rdma_opts *opts,
			struct p2pbuf_rdma **connection,
			struct p2pbuf_error *error);
/* The file that SQEs go to, for io_uring_register_files(); not the caller's. */
int p2pbuf_rdma_fd(struct p2pbuf_rdma *rdma);
void p2pbuf_rdma_close(struct p2pbuf_rdma *rdma);

/*
 * @size: sizeof(struct p2pbuf_rdma_attach_opts)
 * @flags: P2PBUF_ALLOW_SYSTEM or 0
 * @id: what it will be called; 0: the lowest that is free
 * @offset: first byte of the buffer that is meant
 * @length: bytes; 0 is up to the buffer's end
 */
struct p2pbuf_rdma_attach_opts {
	size_t size;
	uint32_t flags;
	uint32_t id;
	uint64_t offset;
	uint64_t length;
};

/* Returns the id. */
int p2pbuf_rdma_attach(struct p2pbuf_rdma *rdma, struct p2pbuf_buffer *buf,
		       const struct p2pbuf_rdma_attach_opts *opts,
		       struct p2pbuf_error *error);
int p2pbuf_rdma_detach(struct p2pbuf_rdma *rdma, uint32_t id);
/* @rights: P2PBUF_READ | P2PBUF_WRITE, what the peer may do with it. */
int p2pbuf_rdma_grant(struct p2pbuf_rdma *rdma, uint32_t id, uint32_t rights);
int p2pbuf_rdma_recall(struct p2pbuf_rdma *rdma, uint32_t id);
/* Until the peer has granted its buffer @id. */
int p2pbuf_rdma_wait(struct p2pbuf_rdma *rdma, uint32_t id, uint32_t timeout_ms,
		     uint64_t *length, uint32_t *rights);

/*
 * @size: sizeof(struct p2pbuf_rdma_stats)
 * @error: why the connection has ended, a positive errno; 0: it has not
 * @pad: zero
 * @reads, @writes: requests that ended well
 * @bytes: of them
 * @errors: requests that failed
 * @parked: requests that had to wait for a buffer
 * @recalls: leases that were recalled, on either side
 * @device: the RDMA device
 */
struct p2pbuf_rdma_stats {
	size_t size;
	int error;
	uint32_t pad;
	uint64_t reads;
	uint64_t writes;
	uint64_t bytes;
	uint64_t errors;
	uint64_t parked;
	uint64_t recalls;
	char device[64];
};

int p2pbuf_rdma_stats(struct p2pbuf_rdma *rdma,
		      struct p2pbuf_rdma_stats *stats);

/* From @local_offset of our buffer, from @remote_offset of the peer's. */
struct p2pbuf_rdma_range {
	uint32_t local_id;
	uint32_t remote_id;
	uint64_t local_offset;
	uint64_t remote_offset;
	uint64_t length;
};

/*
 * Fill @sqe, of a ring with IORING_SETUP_SQE128, or return -errno and leave it
 * untouched. The CQE's res is the length, 0 of a flush, the immediate data (31
 * bits) of a receive, or -errno.
 */
int p2pbuf_rdma_prep_read(struct io_uring_sqe *sqe, struct p2pbuf_rdma *rdma,
			  const struct p2pbuf_rdma_range *range,
			  uint32_t flags);
int p2pbuf_rdma_prep_write(struct io_uring_sqe *sqe, struct p2pbuf_rdma *rdma,
			   const struct p2pbuf_rdma_range *range);
int p2pbuf_rdma_prep_write_imm(struct io_uring_sqe *sqe,
			       struct p2pbuf_rdma *rdma,
			       const struct p2pbuf_rdma_range *range,
			       uint32_t imm);
int p2pbuf_rdma_prep_flush(struct io_uring_sqe *sqe, struct p2pbuf_rdma *rdma,
			   uint32_t remote_id, uint64_t remote_offset);
int p2pbuf_rdma_prep_recv(struct io_uring_sqe *sqe, struct p2pbuf_rdma *rdma);
/*
 * End the request whose SQE had @user_data, if not all of it is on its way: its
 * CQE says -ECANCELED. -EALREADY: it completes by itself; -ENOENT: none is
 * under way. Does not wait; any thread may call it.
 */
int p2pbuf_rdma_cancel(struct p2pbuf_rdma *rdma, uint64_t user_data);

/* ---- words for paths ---- */

/* "bus", "bridge", "system", "refused" or "none" */
const char *p2pbuf_path_name(uint32_t path);
/* One sentence that names the devices; its length, as snprintf(). */
int p2pbuf_path_describe(const struct p2pbuf_path_info *path, char *text,
			 size_t size);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* P2PBUF_H */
