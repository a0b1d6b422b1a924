// SPDX-License-Identifier: GPL-2.0
/* Module of the mock partners. Test only. */
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "mock.h"

struct workqueue_struct *mock_wq;

static struct miscdevice mock_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "p2pbuf-mock",
	.fops = &mock_fops,
	.mode = 0600,
};

static int __init mock_init(void)
{
	int ret;

	mock_fences_init();
	/* Holds sleep in their work for as long as a test likes. */
	mock_wq = alloc_workqueue("p2pbuf_mock", WQ_UNBOUND, WQ_MAX_ACTIVE);
	if (!mock_wq)
		return -ENOMEM;
	ret = mock_devices_init();
	if (ret)
		goto destroy_wq;
	ret = misc_register(&mock_misc);
	if (ret)
		goto exit_devices;
	return 0;

exit_devices:
	mock_devices_exit();
destroy_wq:
	destroy_workqueue(mock_wq);
	return ret;
}

static void __exit mock_exit(void)
{
	misc_deregister(&mock_misc);
	mock_devices_exit();
	/* Work that dropped the last reference may still be returning. */
	destroy_workqueue(mock_wq);
}

module_init(mock_init);
module_exit(mock_exit);
MODULE_IMPORT_NS("DMA_BUF");
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("p2pbuf: exporter and importer on command (test only)");
