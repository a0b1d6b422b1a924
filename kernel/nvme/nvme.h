/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of p2pbuf_nvme.ko share.
 *
 * Objects, outside in:
 *
 *	file		one open /dev/p2pbuf-nvme, owns the rest
 *	  import	one dma-buf on one PCI device: attachment and table
 *	  binding	a range of an import on one namespace; what I/O names
 *	    io		one command on its way; split: a command in parts
 *
 * Lock order:
 *
 *	file->lock			bind, unbind
 *	    device_lock of the NVMe function	bind
 *		(the core's locks)
 *	import->poll_lock is a leaf, on the way to fences
 *	nvme_report_lock is outside the resv, inside nothing but file->lock
 *
 * The I/O path takes none of them: it finds the binding under RCU and holds
 * the binding, then, last, the active reference of the mapping.
 */
#ifndef P2PBUF_NVME_PRIVATE_H
#define P2PBUF_NVME_PRIVATE_H

#include <linux/blk-integrity.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/io_uring/cmd.h>
#include <linux/nvme.h>
#include <linux/pci.h>
#include <linux/percpu-refcount.h>
#include <linux/p2pbuf_nvme.h>
#include "p2pbuf_compat.h"
#include "p2pbuf_core.h"

/* The driver's page size, NVME_CTRL_PAGE_SIZE of drivers/nvme/host/nvme.h */
#define NVME_PAGE_SHIFT		12
#define NVME_PAGE_BYTES		BIT(NVME_PAGE_SHIFT)
#define NVME_PAGE_OFFSET(x)	((u32)(x) & (NVME_PAGE_BYTES - 1))

#define NVME_MAX_BINDINGS	4096	/* of an open file; a power of two */

/*
 * namespace.c: what a block device fd stands for.
 */

/**
 * struct p2pbuf_nvme_ns - a namespace or partition, opened
 * @file: the caller's file, referenced: keeps the queue and the disk
 * @bdev: its block device
 * @cache: its page cache
 * @queue: of the namespace
 * @pdev: the controller's function, referenced
 * @nsid: namespace id on the controller
 * @lba_size: logical block in bytes
 * @lba_shift: log2 of it
 * @lba_base: first block of the partition, 0 for the whole namespace
 * @bytes: size of the partition or namespace
 * @sectors: the same in sectors
 * @disk_sectors: size of the whole namespace, to notice a format change
 * @max_io: bytes one command may carry
 */
struct p2pbuf_nvme_ns {
	struct file *file;
	struct block_device *bdev;
	struct address_space *cache;
	struct request_queue *queue;
	struct pci_dev *pdev;
	u64 lba_base;
	u64 bytes;
	sector_t sectors;
	sector_t disk_sectors;
	u32 nsid;
	u32 max_io;
	u32 lba_size;
	u8 lba_shift;
};

int p2pbuf_nvme_ns_open(int fd, struct p2pbuf_nvme_ns *ns);
void p2pbuf_nvme_ns_close(struct p2pbuf_nvme_ns *ns);
int p2pbuf_nvme_ns_inspect(struct p2pbuf_nvme_ns *ns);
bool p2pbuf_nvme_ns_poll(struct p2pbuf_nvme_ns *ns, bool unbound);

/* Exported by nvme-core for its transports; declared in a private header. */
struct nvme_ctrl;
void nvme_unquiesce_io_queues(struct nvme_ctrl *ctrl);

/* Look for completions in one hardware queue, as bio_poll(). */
static inline int p2pbuf_nvme_queue_poll(struct p2pbuf_nvme_ns *ns,
					 blk_qc_t queue,
					 struct io_comp_batch *iob,
					 unsigned int poll_flags)
{
	/* Never submitted: bio_poll() looks at where it would have gone. */
	struct bio bio = { .bi_bdev = ns->bdev, .bi_cookie = queue };

	return bio_poll(&bio, iob, poll_flags);
}

/* Is the namespace still formatted as it was? A request is held. */
static inline bool p2pbuf_nvme_ns_unchanged(const struct p2pbuf_nvme_ns *ns)
{
	return get_capacity(ns->bdev->bd_disk) == ns->disk_sectors &&
	       bdev_nr_sectors(ns->bdev) == ns->sectors &&
	       queue_logical_block_size(ns->queue) == ns->lba_size &&
	       !blk_integrity_queue_supports_integrity(ns->queue);
}

/*
 * request.c: the driver's private part of a request.
 */

/* The beginning of struct nvme_request; proof.c proves it. */
struct p2pbuf_nvme_request {
	struct nvme_command *cmd;
	union nvme_result result;
	u8 genctr;
	u8 retries;
	u8 flags;
	u16 status;
};

#define P2PBUF_NVME_REQUEST_CANCELLED	BIT(0)	/* NVME_REQ_CANCELLED */

/* Exported by nvme-core for its transports; declared in a private header. */
void nvme_init_request(struct request *req, struct nvme_command *cmd);

/*
 * Make @req carry @cmd, which may be p2pbuf_nvme_request_command(). The
 * request has no bio, so the driver neither maps data nor touches the data
 * pointer.
 */
static inline void p2pbuf_nvme_request_prepare(struct request *req,
					       struct nvme_command *cmd)
{
	nvme_init_request(req, cmd);
}

/* Where the request has its command. */
static inline struct nvme_command *
p2pbuf_nvme_request_command(struct request *req)
{
	struct p2pbuf_nvme_request *priv = blk_mq_rq_to_pdu(req);

	return priv->cmd;
}

/*
 * From here to p2pbuf_nvme_plug_show() the task has no plug that requests could
 * get into. The time that the block layer keeps in it goes first: a task switch
 * looks for it in the plug whenever a flag of the task says that it is there.
 */
static inline struct blk_plug *p2pbuf_nvme_plug_hide(void)
{
	struct blk_plug *plug = current->plug;

	blk_plug_invalidate_ts();
	current->plug = NULL;
	return plug;
}

static inline void p2pbuf_nvme_plug_show(struct blk_plug *plug)
{
	current->plug = plug;
}

/*
 * Give @req to the driver, now. The task's plug would keep it, and the active
 * reference with it, until all that was plugged before is with its drivers;
 * they may sleep there, on user space as well, while an exporter waits for us.
 * What the plug is still good for is its stock of requests.
 */
static inline void p2pbuf_nvme_request_execute(struct request *req)
{
	struct blk_plug *plug = p2pbuf_nvme_plug_hide();

	blk_execute_rq_nowait(req, false);
	p2pbuf_nvme_plug_show(plug);
}

bool p2pbuf_nvme_request_holds(struct request *req,
			       const struct nvme_command *cmd);
u16 p2pbuf_nvme_request_status(struct request *req);
u64 p2pbuf_nvme_request_lba(struct request *req);
int p2pbuf_nvme_request_error(struct request *req, blk_status_t err);

/*
 * What a finished request has to report: 0 or -errno. Looks at both places
 * an error can be in: batched completions leave it in the private part,
 * unbatched ones and those the block layer ends pass it as @err.
 */
static inline int p2pbuf_nvme_request_errno(struct request *req,
					    blk_status_t err)
{
	const struct p2pbuf_nvme_request *priv = blk_mq_rq_to_pdu(req);

	if (likely(!err && !priv->status &&
		   !(priv->flags & P2PBUF_NVME_REQUEST_CANCELLED)))
		return 0;
	return p2pbuf_nvme_request_error(req, err);
}

/*
 * batch.c: requests of one submission.
 */

/**
 * struct p2pbuf_nvme_batch - requests of a plug, not yet with the driver
 * @plug: has the requests; for who has @busy
 * @busy: 1 while somebody is at @plug
 * @unplug: in the task's plug, while claimed
 * @file: set while claimed
 */
struct p2pbuf_nvme_batch {
	struct blk_plug plug;
	atomic_t busy;
	struct blk_plug_cb unplug;
	struct file *file;
};

void p2pbuf_nvme_batch_init(void);
void p2pbuf_nvme_batch_begin(struct blk_plug *plug, struct file *file,
			     struct request *req);
void p2pbuf_nvme_batch_unplug(struct blk_plug_cb *cb, bool from_schedule);
void p2pbuf_nvme_batch_flush(void);

static inline bool p2pbuf_nvme_batch_trylock(struct p2pbuf_nvme_batch *batch)
{
	return !atomic_xchg_acquire(&batch->busy, 1);
}

static inline void p2pbuf_nvme_batch_unlock(struct p2pbuf_nvme_batch *batch)
{
	atomic_set_release(&batch->busy, 0);
}

/* By the task that claimed @batch for its @plug. False when it cannot. */
static inline bool p2pbuf_nvme_batch_put_in(struct p2pbuf_nvme_batch *batch,
					    struct blk_plug *plug,
					    struct request *req)
{
	if (unlikely(!p2pbuf_nvme_batch_trylock(batch)))
		return false;
	current->plug = &batch->plug;
	blk_execute_rq_nowait(req, false);
	current->plug = plug;
	p2pbuf_nvme_batch_unlock(batch);
	/* A task switch meanwhile took the time from the other plug. */
	if (unlikely(!(current->flags & PF_BLOCK_TS)))
		plug->cur_ktime = 0;
	return true;
}

/**
 * p2pbuf_nvme_batch_add - execute a request with others of its submission
 * @file: of the command; whoever calls holds it
 * @req: prepared; may be over on return
 *
 * Context: of the command's submitter.
 */
static inline void p2pbuf_nvme_batch_add(struct file *file,
					 struct request *req)
{
	struct blk_plug *plug = current->plug;
	struct p2pbuf_nvme_batch *batch;
	struct list_head *last;

	if (!plug) {
		blk_execute_rq_nowait(req, false);
		return;
	}
	/* Ours was added last, as long as nobody else plugs. */
	last = plug->cb_list.next;
	batch = container_of(last, struct p2pbuf_nvme_batch, unplug.list);
	if (likely(last != &plug->cb_list &&
		   batch->unplug.callback == p2pbuf_nvme_batch_unplug &&
		   p2pbuf_nvme_batch_put_in(batch, plug, req)))
		return;
	p2pbuf_nvme_batch_begin(plug, file, req);
}

/*
 * proof.c: what is assumed of the running driver, proven on it.
 */

/* The driver takes no commands just now: let go of all locks, and try again. */
#define P2PBUF_NVME_LATER	1
#define P2PBUF_NVME_LATER_MS	20

int p2pbuf_nvme_prove(struct p2pbuf_nvme_ns *ns);
int p2pbuf_nvme_prove_any(void);

/*
 * table.c: address lists the device reads.
 */

#define NVME_LIST_STRIDE	256	/* buffer pages from list to list */
#define NVME_CHUNK_LISTS	16
#define NVME_CHUNK_PAGES	(NVME_CHUNK_LISTS * NVME_LIST_STRIDE)

/* The lists for NVME_CHUNK_PAGES pages of the buffer, or nothing yet. */
struct p2pbuf_nvme_chunk {
	__le64 *entries;
	dma_addr_t dma;
};

struct p2pbuf_nvme_table {
	struct device *dev;
	u64 pages;
	u32 nr_chunks;
	struct p2pbuf_nvme_chunk chunks[] __counted_by(nr_chunks);
};

struct p2pbuf_nvme_table *p2pbuf_nvme_table_create(struct device *dev,
						   u64 bytes);
void p2pbuf_nvme_table_destroy(struct p2pbuf_nvme_table *table);
u64 p2pbuf_nvme_table_missing(struct p2pbuf_nvme_table *table, u64 offset,
			      u64 length);
int p2pbuf_nvme_table_cover(struct p2pbuf_nvme_table *table, u64 offset,
			    u64 length);
int p2pbuf_nvme_table_fill(struct p2pbuf_nvme_table *table,
			   struct sg_table *sgt);

/* Where the entry of a buffer page is in its chunk: lists overlap by half. */
static inline u32 p2pbuf_nvme_table_slot(u64 page)
{
	u32 in_chunk = page % NVME_CHUNK_PAGES;

	return in_chunk + round_down(in_chunk, NVME_LIST_STRIDE);
}

/**
 * p2pbuf_nvme_table_point - point a command at a range of the buffer
 * @table: the table, filled, active reference held
 * @offset: first byte in the buffer, a multiple of 4
 * @length: at most 1 MiB, inside a covered range
 * @dptr: set
 */
static inline void p2pbuf_nvme_table_point(const struct p2pbuf_nvme_table *table,
					   u64 offset, u32 length,
					   union nvme_data_ptr *dptr)
{
	u64 page = offset >> NVME_PAGE_SHIFT;
	u32 in_page = NVME_PAGE_OFFSET(offset);
	const struct p2pbuf_nvme_chunk *chunk =
		&table->chunks[page / NVME_CHUNK_PAGES];
	u32 slot = p2pbuf_nvme_table_slot(page);

	dptr->prp1 = cpu_to_le64(le64_to_cpu(chunk->entries[slot]) + in_page);
	/* What follows the first page is in the same list, see table.c. */
	slot++;
	if (in_page + length > 2 * NVME_PAGE_BYTES)
		dptr->prp2 = cpu_to_le64(chunk->dma + slot * sizeof(__le64));
	else if (in_page + length > NVME_PAGE_BYTES)
		dptr->prp2 = chunk->entries[slot];
	else
		dptr->prp2 = 0;
}

/*
 * import.c
 */

/**
 * struct p2pbuf_nvme_import - one dma-buf on one NVMe function
 * @att: the attachment
 * @table: its addresses, NULL once revoked
 * @dmabuf: the key, with @pdev; referenced by @att
 * @pdev: likewise; referenced by the bindings
 * @users: bindings, under file->lock
 * @bindings: the same, for polling
 * @poll_lock: guards @bindings
 * @unfilled: the table may have room that the mapping was not written to;
 *	under file->lock
 * @charged: table bytes charged to @user
 * @user: who pays for the table
 * @node: on file->imports
 */
struct p2pbuf_nvme_import {
	struct p2pbuf_attachment *att;
	struct p2pbuf_nvme_table *table;
	struct dma_buf *dmabuf;
	struct pci_dev *pdev;
	unsigned int users;
	bool unfilled;
	u64 charged;
	struct user_struct *user;
	struct list_head bindings;
	/* Guards @bindings; a leaf, on the way to fences. */
	struct mutex poll_lock;
	struct list_head node;
};

struct p2pbuf_nvme_binding;
struct p2pbuf_nvme_file;

struct p2pbuf_nvme_import *
p2pbuf_nvme_import_get(struct p2pbuf_nvme_file *file, struct dma_buf *dmabuf,
		       struct pci_dev *pdev);
void p2pbuf_nvme_import_put(struct p2pbuf_nvme_import *import);
int p2pbuf_nvme_import_cover(struct p2pbuf_nvme_import *import, u64 offset,
			     u64 length);
void p2pbuf_nvme_import_add(struct p2pbuf_nvme_import *import,
			    struct p2pbuf_nvme_binding *b);
void p2pbuf_nvme_import_del(struct p2pbuf_nvme_import *import,
			    struct p2pbuf_nvme_binding *b);

/*
 * binding.c
 */

/* Of a binding, for each CPU; only the sums over all CPUs mean something. */
struct p2pbuf_nvme_counters {
	u64 begun;
	u64 ended;
	u64 reads;
	u64 writes;
	u64 bytes_peer;
	u64 bytes_system;
	u64 errors;
	u64 deferred;
};

/**
 * struct p2pbuf_nvme_binding - what a command names
 * @ns: the namespace
 * @att: the import's attachment
 * @table: the import's table; read only with an active reference held
 * @offset: first byte of the range in the buffer
 * @length: of the range
 * @flags: P2PBUF_NVME_BIND_*
 * @rights: P2PBUF_NVME_RIGHT_*
 * @counters: per CPU
 * @import: what @att and @table belong to
 * @import_node: on its list
 * @id: in its file
 * @node: on the list that debugfs shows
 */
struct p2pbuf_nvme_binding {
	struct p2pbuf_nvme_ns ns;
	struct p2pbuf_attachment *att;
	struct p2pbuf_nvme_table *table;
	u64 offset;
	u64 length;
	u32 flags;
	u32 rights;
	struct p2pbuf_nvme_counters __percpu *counters;

	struct p2pbuf_nvme_import *import;
	struct list_head import_node;
	u32 id;
	struct list_head node;
};

int p2pbuf_nvme_bind(struct p2pbuf_nvme_file *file,
		     struct p2pbuf_nvme_bind *arg,
		     struct p2pbuf_nvme_binding **out);
void p2pbuf_nvme_binding_destroy(struct p2pbuf_nvme_binding *b);
void p2pbuf_nvme_binding_info(struct p2pbuf_nvme_binding *b,
			      struct p2pbuf_nvme_bind_info *info);
bool p2pbuf_nvme_binding_peek(struct p2pbuf_nvme_binding *b,
			      struct p2pbuf_nvme_bind_info *info);

/* Keep @b beyond the RCU read section that it was found in. */
static inline void p2pbuf_nvme_binding_hold(struct p2pbuf_nvme_binding *b)
{
	this_cpu_inc(b->counters->begun);
}

/* p2pbuf_nvme_binding_put() for who has the counters at hand. */
static inline void
p2pbuf_nvme_counters_put(struct p2pbuf_nvme_counters __percpu *c)
{
	/* All that was read of the binding was read before: binding_busy(). */
	smp_mb__before_atomic();
	barrier();
	this_cpu_inc(c->ended);
}

/* Any context. @b may be gone on return. */
static inline void p2pbuf_nvme_binding_put(struct p2pbuf_nvme_binding *b)
{
	p2pbuf_nvme_counters_put(b->counters);
}

/*
 * file.c
 */

/**
 * struct p2pbuf_nvme_file - one open file of the node
 * @lock: serialises bind and unbind
 * @imports: under @lock
 * @last_id: given last, 1 to NVME_MAX_BINDINGS; under @lock
 * @bindings: each where p2pbuf_nvme_slot() says; written under @lock, RCU for
 *	the I/O path
 */
struct p2pbuf_nvme_file {
	/* Outside the attachment's lock and the resv. */
	struct mutex lock;
	struct list_head imports;
	u32 last_id;
	struct p2pbuf_nvme_binding __rcu *bindings[NVME_MAX_BINDINGS];
};

/* Whatever the id that user space made up, this is inside the array. */
static inline struct p2pbuf_nvme_binding __rcu **
p2pbuf_nvme_slot(struct p2pbuf_nvme_file *file, u32 id)
{
	return &file->bindings[id % NVME_MAX_BINDINGS];
}

extern const struct file_operations p2pbuf_nvme_fops;

/* The binding of that id, or NULL; it stays until the RCU read section ends. */
static inline struct p2pbuf_nvme_binding *
p2pbuf_nvme_binding_find(struct p2pbuf_nvme_file *file, u32 id)
{
	struct p2pbuf_nvme_binding *b =
		rcu_dereference(*p2pbuf_nvme_slot(file, id));

	return b && b->id == id ? b : NULL;
}

/* The same, held. */
static inline struct p2pbuf_nvme_binding *
p2pbuf_nvme_binding_get(struct p2pbuf_nvme_file *file, u32 id)
{
	struct p2pbuf_nvme_binding *b;

	rcu_read_lock();
	b = p2pbuf_nvme_binding_find(file, id);
	if (b)
		p2pbuf_nvme_binding_hold(b);
	rcu_read_unlock();
	return b;
}

/*
 * io.c, split.c
 */

/**
 * struct p2pbuf_nvme_io - a parsed command; SQE fields are read only once
 * @offset: in the binding's range
 * @dev_offset: in the namespace or partition
 * @length: bytes
 * @id: the binding
 * @flags: P2PBUF_NVME_FUA, P2PBUF_NVME_FLUSH
 * @write: direction
 */
struct p2pbuf_nvme_io {
	u64 offset;
	u64 dev_offset;
	u32 length;
	u32 id;
	u32 flags;
	bool write;
};

/**
 * struct p2pbuf_nvme_pdu - our 32 bytes in the io_uring command
 * @mapping: whose active reference the I/O holds
 * @binding: held by the I/O
 * @stale: after the I/O: file whose page cache has to forget the range
 * @pos: where in @stale
 * @res: byte count to report, or -errno
 * @id: the binding's id, for polling
 * @bytes: after the I/O: how many bytes from @pos
 * @queue: the hardware queue, for polling; BLK_QC_T_NONE when there is nothing
 *	to poll for: after the I/O, or because an interrupt ends it
 */
struct p2pbuf_nvme_pdu {
	union {
		struct {
			struct p2pbuf_mapping *mapping;
			struct p2pbuf_nvme_binding *binding;
		};
		struct {
			struct file *stale;
			u64 pos;
		};
	};
	s32 res;
	u32 id;
	u32 bytes;
	blk_qc_t queue;
};

/* Count a finished I/O; any context, with the active reference of @m. */
static inline void
p2pbuf_nvme_io_account(struct p2pbuf_nvme_counters __percpu *c,
		       const struct p2pbuf_mapping *m, bool write, int err,
		       u32 bytes)
{
	if (write)
		this_cpu_inc(c->writes);
	else
		this_cpu_inc(c->reads);
	if (unlikely(err))
		this_cpu_inc(c->errors);
	else if (unlikely(m->system))
		this_cpu_add(c->bytes_system, bytes);
	else
		this_cpu_add(c->bytes_peer, bytes);
}

int p2pbuf_nvme_uring_cmd(struct io_uring_cmd *ioucmd,
			  unsigned int issue_flags);
int p2pbuf_nvme_uring_cmd_iopoll(struct io_uring_cmd *ioucmd,
				 struct io_comp_batch *iob,
				 unsigned int poll_flags);

struct request *p2pbuf_nvme_io_alloc(struct p2pbuf_nvme_binding *b,
				     const struct p2pbuf_nvme_io *io,
				     unsigned int issue_flags);
struct p2pbuf_mapping *
p2pbuf_nvme_mapping_get(struct p2pbuf_nvme_binding *b);
int p2pbuf_nvme_io_wait(struct p2pbuf_nvme_binding *b,
			const struct p2pbuf_nvme_io *io,
			struct request **reqp, struct p2pbuf_mapping **mp);
void p2pbuf_nvme_io_prepare(struct p2pbuf_nvme_binding *b,
			    const struct p2pbuf_nvme_io *io,
			    struct request *req);
void p2pbuf_nvme_io_complete(struct io_uring_cmd *ioucmd,
			     struct p2pbuf_nvme_binding *b, u64 pos, u32 bytes,
			     s32 res, bool write);
int p2pbuf_nvme_split_submit(struct io_uring_cmd *ioucmd,
			     struct p2pbuf_nvme_binding *b,
			     const struct p2pbuf_nvme_io *io,
			     unsigned int issue_flags);

/*
 * report.c: debugfs.
 */
void p2pbuf_nvme_report_init(void);
void p2pbuf_nvme_report_exit(void);
void p2pbuf_nvme_report_add(struct p2pbuf_nvme_binding *b);
void p2pbuf_nvme_report_del(struct p2pbuf_nvme_binding *b);
void p2pbuf_nvme_report_refusal(int err, u32 reason);

#endif /* P2PBUF_NVME_PRIVATE_H */
