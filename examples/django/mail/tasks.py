import time

from celery import shared_task
from django.conf import settings
from django.core.mail import send_mail


# goworker/main.go has the same task in Go.
@shared_task(autoretry_for=(OSError,), max_retries=3, retry_backoff=True)
def send_email(to, subject="Hello"):
    time.sleep(settings.MAIL_SECONDS)  # the slow part
    send_mail(subject, "Sent by Python.", None, [to])
    return f"sent to {to} by Python"
