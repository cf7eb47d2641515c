"""What the product does, free of HTTP and (but for ``queue.py``) of Celery."""
