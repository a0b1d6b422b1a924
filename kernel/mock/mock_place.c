// SPDX-License-Identifier: GPL-2.0
/*
 * Place: room for the bytes of a buffer, in system pages or in a BAR.
 *
 * A place that the buffer has left is filled with poison and kept for a while
 * in the buffer's graveyard, and looked at again: a word that changed was
 * written by somebody who had promised not to.
 */
#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/prandom.h>
#include <linux/slab.h>

#include "mock.h"

/* The CPU handles so much at a time: on a kernel with checkers each call counts. */
#define MOCK_CHUNK_WORDS	128

static void mock_place_free_pages(struct mock_place *place)
{
	u32 i;

	for (i = 0; place->pages && i < place->nr; i++)
		if (place->pages[i])
			__free_page(place->pages[i]);
	kvfree(place->pages);
}

static void mock_place_free(struct kref *kref)
{
	struct mock_place *place = container_of(kref, struct mock_place, kref);

	mock_place_free_pages(place);
	if (place->start)
		gen_pool_free(place->mdev->pool, place->start,
			      (size_t)place->nr << PAGE_SHIFT);
	mock_device_put(place->mdev);
	kvfree(place->phys);
	kfree(place);
}

void mock_place_put(struct mock_place *place)
{
	if (place)
		kref_put(&place->kref, mock_place_free);
}

static int mock_place_alloc_pages(struct mock_place *place)
{
	u32 i;

	place->pages = kvzalloc_objs(*place->pages, place->nr);
	if (!place->pages)
		return -ENOMEM;
	for (i = 0; i < place->nr; i++) {
		place->pages[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!place->pages[i])
			return -ENOMEM;
		place->phys[i] = page_to_phys(place->pages[i]);
	}
	return 0;
}

static int mock_place_alloc_bar(struct mock_place *place, u32 device)
{
	u32 i;

	place->mdev = mock_device_find(device);
	if (!place->mdev)
		return -ENODEV;
	place->start = gen_pool_alloc(place->mdev->pool,
				      (size_t)place->nr << PAGE_SHIFT);
	if (!place->start)
		return -ENOSPC;
	for (i = 0; i < place->nr; i++)
		place->phys[i] = place->start + ((u64)i << PAGE_SHIFT);
	return 0;
}

static void mock_place_shuffle(struct mock_place *place, u32 seed)
{
	struct rnd_state rnd;
	u32 i, j;

	prandom_seed_state(&rnd, seed);
	for (i = place->nr - 1; i > 0; i--) {
		j = prandom_u32_state(&rnd) % (i + 1);
		swap(place->phys[i], place->phys[j]);
		if (place->pages)
			swap(place->pages[i], place->pages[j]);
	}
}

/**
 * mock_place_create - find room
 * @nr: pages
 * @placement: one of &enum p2pbuf_mock_placement
 * @device: for a BAR, see mock_device_find()
 * @shuffle: do not keep pages in the order of their addresses
 * @seed: of their order then
 *
 * Return: the place, all zero if in system pages; or an ERR_PTR: -ENOMEM,
 * -ENODEV, -ENOSPC, -EINVAL.
 */
struct mock_place *mock_place_create(u32 nr, u32 placement, u32 device,
				     bool shuffle, u32 seed)
{
	struct mock_place *place;
	int ret = -ENOMEM;

	place = kzalloc_obj(*place);
	if (!place)
		return ERR_PTR(-ENOMEM);
	kref_init(&place->kref);
	place->nr = nr;
	place->phys = kvzalloc_objs(*place->phys, nr);
	if (place->phys && placement == P2PBUF_MOCK_PAGES)
		ret = mock_place_alloc_pages(place);
	else if (place->phys && placement == P2PBUF_MOCK_BAR)
		ret = mock_place_alloc_bar(place, device);
	else if (place->phys)
		ret = -EINVAL;
	if (ret) {
		mock_place_put(place);
		return ERR_PTR(ret);
	}
	if (shuffle)
		mock_place_shuffle(place, seed);
	return place;
}

/* Inside one page. */
static int mock_place_access_bar(struct mock_place *place, u64 offset,
				 void *data, size_t len, bool write)
{
	struct mock_device *mdev = place->mdev;
	void __iomem *io;
	int idx;

	idx = srcu_read_lock(&mdev->alive);
	if (READ_ONCE(mdev->gone)) {
		srcu_read_unlock(&mdev->alive, idx);
		return -ENOLINK;
	}
	io = mdev->io + (place->phys[offset >> PAGE_SHIFT] - mdev->base) +
	     offset_in_page(offset);
	if (write)
		memcpy_toio(io, data, len);
	else
		memcpy_fromio(data, io, len);
	srcu_read_unlock(&mdev->alive, idx);
	return 0;
}

/* Inside one page. */
static int mock_place_access_page(struct mock_place *place, u64 offset,
				  void *data, size_t len, bool write)
{
	if (place->mdev)
		return mock_place_access_bar(place, offset, data, len, write);
	if (write)
		memcpy_to_page(place->pages[offset >> PAGE_SHIFT],
			       offset_in_page(offset), data, len);
	else
		memcpy_from_page(data, place->pages[offset >> PAGE_SHIFT],
				 offset_in_page(offset), len);
	return 0;
}

/**
 * mock_place_access - the CPU's way to the bytes
 * @place: the place
 * @offset: inside of it, with @len
 * @data: kernel memory
 * @len: bytes
 * @write: to the place
 *
 * Context: any, interrupts included.
 * Return: 0, or -ENOLINK when the device is gone.
 */
int mock_place_access(struct mock_place *place, u64 offset, void *data,
		      size_t len, bool write)
{
	while (len) {
		size_t n = min(len, PAGE_SIZE - offset_in_page(offset));
		int ret;

		ret = mock_place_access_page(place, offset, data, n, write);
		if (ret)
			return ret;
		offset += n;
		data += n;
		len -= n;
	}
	return 0;
}

/*
 * Both have the same number of pages. Allocates nothing: a pipelined move copies
 * when it is too late to fail for want of memory. 0 or -ENOLINK.
 */
int mock_place_copy(struct mock_place *to, struct mock_place *from)
{
	u64 words[MOCK_CHUNK_WORDS];
	u64 offset;
	int ret = 0;

	for (offset = 0; offset < (u64)to->nr << PAGE_SHIFT && !ret;
	     offset += sizeof(words)) {
		ret = mock_place_access(from, offset, words, sizeof(words),
					false);
		if (!ret)
			ret = mock_place_access(to, offset, words,
						sizeof(words), true);
		if (PAGE_ALIGNED(offset))
			cond_resched();
	}
	return ret;
}

void mock_place_poison(struct mock_place *place)
{
	u64 words[MOCK_CHUNK_WORDS];
	u64 offset;

	memset64(words, P2PBUF_MOCK_POISON, ARRAY_SIZE(words));
	for (offset = 0; offset < (u64)place->nr << PAGE_SHIFT;
	     offset += sizeof(words))
		if (mock_place_access(place, offset, words, sizeof(words),
				      true))
			return;
}

static u32 mock_words_late(const u64 *words)
{
	u32 late = 0;
	int i;

	/* Each like the one before it, which is quickly told. */
	if (words[0] == P2PBUF_MOCK_POISON &&
	    !memcmp(words, words + 1, (MOCK_CHUNK_WORDS - 1) * sizeof(*words)))
		return 0;
	for (i = 0; i < MOCK_CHUNK_WORDS; i++)
		late += words[i] != P2PBUF_MOCK_POISON;
	return late;
}

/* How much of the poison is gone; none that can be seen when the device is. */
u32 mock_place_late_words(struct mock_place *place)
{
	u64 words[MOCK_CHUNK_WORDS];
	u64 offset;
	u32 late = 0;

	for (offset = 0; offset < (u64)place->nr << PAGE_SHIFT;
	     offset += sizeof(words)) {
		if (mock_place_access(place, offset, words, sizeof(words),
				      false))
			break;
		late += mock_words_late(words);
	}
	return late;
}
