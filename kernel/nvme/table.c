// SPDX-License-Identifier: GPL-2.0
/*
 * Table: the buffer's addresses in the form the device reads them.
 *
 * A command points to its data with PRP entries (NVM Express Base
 * Specification 2.0, section 4.1.1): prp1 is the first address; prp2 is the
 * second when there are two pages, and otherwise points to a list of the
 * rest. A list may not cross a page but by chaining.
 *
 * The lists are written once per mapping and overlap by half: list page k
 * holds the addresses of buffer pages 256k to 256k+511. Whatever page a
 * transfer starts at, one of the first 256 entries of a list page is it, and at
 * least 256 entries follow there, enough for 1 MiB at any offset, so that
 * building a command takes two loads and no list.
 *
 *	buffer pages  0       256      512      768
 *	list page 0   [---------------]
 *	list page 1            [---------------]
 *	list page 2                     [---------------]
 *
 * List pages come in chunks of 16 (64 KiB of coherent memory for 16 MiB of
 * buffer), allocated where bindings cover the buffer. A chunk is never freed
 * before the table, and entries are only written by fill(), when no I/O of an
 * older mapping lives and none of the new one has begun.
 */
#include <linux/dma-mapping.h>
#include <linux/slab.h>
#include "nvme.h"

#define CHUNK_BYTES	((u64)NVME_CHUNK_PAGES << NVME_PAGE_SHIFT)
#define CHUNK_ALLOC	(NVME_CHUNK_LISTS * NVME_PAGE_BYTES)

/**
 * p2pbuf_nvme_table_create - an empty table for a buffer
 * @dev: the device that will read it; must outlive it
 * @bytes: size of the buffer, a multiple of the page size
 *
 * Return: the table, covering nothing yet, or NULL.
 */
struct p2pbuf_nvme_table *p2pbuf_nvme_table_create(struct device *dev,
						   u64 bytes)
{
	struct p2pbuf_nvme_table *table;
	u64 nr = DIV_ROUND_UP_ULL(bytes, CHUNK_BYTES);

	if (nr > U32_MAX)
		return NULL;
	table = kvzalloc(struct_size(table, chunks, nr), GFP_KERNEL_ACCOUNT);
	if (!table)
		return NULL;
	table->dev = dev;
	table->pages = bytes >> NVME_PAGE_SHIFT;
	table->nr_chunks = nr;
	return table;
}

/* Nothing is mapped any more. NULL is fine. */
void p2pbuf_nvme_table_destroy(struct p2pbuf_nvme_table *table)
{
	struct p2pbuf_nvme_chunk *chunk;

	if (!table)
		return;
	for (chunk = table->chunks;
	     chunk < table->chunks + table->nr_chunks; chunk++)
		if (chunk->entries)
			dma_free_coherent(table->dev, CHUNK_ALLOC,
					  chunk->entries, chunk->dma);
	kvfree(table);
}

/* Bytes p2pbuf_nvme_table_cover() would allocate for this range. */
u64 p2pbuf_nvme_table_missing(struct p2pbuf_nvme_table *table, u64 offset,
			      u64 length)
{
	u64 i, missing = 0;

	for (i = offset / CHUNK_BYTES;
	     i <= (offset + length - 1) / CHUNK_BYTES; i++)
		if (!table->chunks[i].entries)
			missing += CHUNK_ALLOC;
	return missing;
}

/**
 * p2pbuf_nvme_table_cover - make room for a range of the buffer
 * @table: the table
 * @offset: of the range in the buffer
 * @length: of the range, not 0
 *
 * Adds chunks; the next fill() writes them. No published mapping's tables are
 * touched. What was added before a failure stays and is used by the next try.
 *
 * Return: 0 or -ENOMEM.
 */
int p2pbuf_nvme_table_cover(struct p2pbuf_nvme_table *table, u64 offset,
			    u64 length)
{
	struct p2pbuf_nvme_chunk *chunk = &table->chunks[offset / CHUNK_BYTES];
	struct p2pbuf_nvme_chunk *last =
		&table->chunks[(offset + length - 1) / CHUNK_BYTES];

	for (; chunk <= last; chunk++) {
		if (chunk->entries)
			continue;
		chunk->entries = dma_alloc_coherent(table->dev, CHUNK_ALLOC,
						    &chunk->dma, GFP_KERNEL);
		if (!chunk->entries)
			return -ENOMEM;
	}
	return 0;
}

/* A page's address belongs in its own list and in the tail of the one before. */
static void table_set(struct p2pbuf_nvme_table *table, u64 page, __le64 addr)
{
	struct p2pbuf_nvme_chunk *chunk =
		&table->chunks[page / NVME_CHUNK_PAGES];
	u64 before = page - NVME_LIST_STRIDE;

	if (chunk->entries)
		chunk->entries[p2pbuf_nvme_table_slot(page)] = addr;
	if (page < NVME_LIST_STRIDE)
		return;
	chunk = &table->chunks[before / NVME_CHUNK_PAGES];
	if (chunk->entries)
		chunk->entries[p2pbuf_nvme_table_slot(before) +
			       NVME_LIST_STRIDE] = addr;
}

/**
 * p2pbuf_nvme_table_fill - write the addresses of a new mapping
 * @table: the table
 * @sgt: the mapping
 *
 * Context: the importer's fill callback; see &struct p2pbuf_importer_ops.
 * Return: 0, or -EFAULT when a segment is not made of whole pages or the
 * mapping is shorter than the buffer.
 */
int p2pbuf_nvme_table_fill(struct p2pbuf_nvme_table *table,
			   struct sg_table *sgt)
{
	struct scatterlist *sg;
	u64 page = 0;
	int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		dma_addr_t addr = sg_dma_address(sg);
		u64 left = sg_dma_len(sg);

		if ((addr | left) & (NVME_PAGE_BYTES - 1))
			return -EFAULT;
		for (; left && page < table->pages; left -= NVME_PAGE_BYTES) {
			table_set(table, page++, cpu_to_le64(addr));
			addr += NVME_PAGE_BYTES;
		}
		cond_resched();
	}
	if (page < table->pages)
		return -EFAULT;
	/* The device reads the lists after it sees the doorbell. */
	dma_wmb();
	return 0;
}
