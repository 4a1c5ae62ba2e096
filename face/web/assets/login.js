// Uses a one-time code without another click.
document.querySelector("form[data-auto]")?.requestSubmit();
