from django.urls import path

from mail import views

urlpatterns = [
    path("", views.send, name="send"),
    path("sent/<uuid:id>/", views.sent, name="sent"),
]
