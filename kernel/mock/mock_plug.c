// SPDX-License-Identifier: GPL-2.0
/*
 * Plug: a callback in the plug of whoever submits, that sleeps.
 *
 * md keeps bios in such a callback, and sleeps in it on the drivers below. It
 * is called before those that were there already, and before any driver is
 * given a request: all who share the submission wait for it.
 */
#include <linux/blkdev.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "mock.h"

/* For a test that ends before it lets go. */
#define PLUG_MS_MAX	30000

static DECLARE_WAIT_QUEUE_HEAD(mock_plug_wait);
static atomic_t mock_plug_sleeping = ATOMIC_INIT(0);
static bool mock_plug_open;

static void mock_plug_unplug(struct blk_plug_cb *cb, bool from_schedule)
{
	kfree(cb);
	/* The task is going to sleep on something else. */
	if (from_schedule)
		return;
	atomic_inc(&mock_plug_sleeping);
	wait_event_timeout(mock_plug_wait, READ_ONCE(mock_plug_open),
			   msecs_to_jiffies(PLUG_MS_MAX));
	atomic_dec(&mock_plug_sleeping);
}

/**
 * mock_plug_uring_cmd - be called when the submission is over, and sleep
 * @ioucmd: P2PBUF_MOCK_URING_PLUG
 * @issue_flags: as io_uring gives them
 *
 * Return: 0, -ENOMEM, -ENOTTY, or -EBADF when this submission has no plug.
 */
int mock_plug_uring_cmd(struct io_uring_cmd *ioucmd, unsigned int issue_flags)
{
	struct blk_plug_cb *cb;

	if (ioucmd->cmd_op != P2PBUF_MOCK_URING_PLUG)
		return -ENOTTY;
	if (!current->plug)
		return -EBADF;
	cb = blk_check_plugged(mock_plug_unplug, NULL, sizeof(*cb));
	return cb ? 0 : -ENOMEM;
}

/* How many sleep is told, as it was before. */
int mock_plug_call(struct p2pbuf_mock_plug *arg)
{
	arg->sleeping = atomic_read(&mock_plug_sleeping);
	WRITE_ONCE(mock_plug_open, arg->open);
	wake_up_all(&mock_plug_wait);
	return 0;
}
