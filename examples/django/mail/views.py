from celery.result import AsyncResult
from django.shortcuts import redirect, render

from .forms import EmailForm
from .tasks import send_email

KEPT = 10  # how many emails a browser's list has


def send(request):
    """The form, and what this browser sent before."""
    form = EmailForm(request.POST or None)
    if form.is_valid():
        result = send_email.delay(form.cleaned_data["to"], subject=form.cleaned_data["subject"])
        request.session["sent"] = [[result.id, form.cleaned_data["to"]], *request.session.get("sent", [])][:KEPT]
        return redirect("sent", result.id)
    sent = [(AsyncResult(id), to) for id, to in request.session.get("sent", [])]
    return render(request, "mail/send.html", {"form": form, "sent": sent})


def sent(request, id):
    """State and result of one email. The page loads itself anew until there is a result."""
    return render(request, "mail/sent.html", {"result": AsyncResult(str(id))})
