from django import forms


class EmailForm(forms.Form):
    to = forms.EmailField(label="To")
    subject = forms.CharField(label="Subject", max_length=80, initial="Welcome")
