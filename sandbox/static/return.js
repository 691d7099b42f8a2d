"use strict";

const form = document.getElementById("return");
setTimeout(() => form.submit(), Number(form.dataset.seconds) * 1000);
