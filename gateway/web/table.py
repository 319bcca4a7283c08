"""Every route of the API, in one table; docs/api.md tells of them."""

from __future__ import annotations

from gateway.web import entering, looking, telling
from gateway.web.routes import Route

ROUTES: tuple[Route, ...] = (
    Route("GET", "/session", None, "Who asks, and what is to be done first", entering.session, entering.SessionTold),
    Route("POST", "/setup", None, "Set the first password", entering.setup, entering.SessionTold,
          body=entering.SetupWish, refusals=(403, 409, 429)),
    Route("POST", "/session", None, "Log in", entering.login, entering.SessionTold,
          body=entering.PasswordWish, refusals=(401, 409, 429)),
    Route("DELETE", "/session", "read", "Log out", entering.logout, success=204),
    Route("POST", "/password", "admin", "Set another password", entering.change,
          body=entering.ChangeWish, refusals=(429,), success=204),
    Route("GET", "/tokens", "admin", "The tokens", entering.tokens, list[entering.TokenTold]),
    Route("POST", "/tokens", "admin", "Make a token", entering.make_token, entering.NewTokenTold,
          body=entering.TokenWish),
    Route("DELETE", "/tokens/{name}", "admin", "Take a token back", entering.drop_token, refusals=(404,), success=204),
    Route("GET", "/box", "read", "What the box is and has", looking.box, looking.BoxTold),
    Route("GET", "/state", "read", "How everything is now", looking.state, looking.StateTold),
    Route("GET", "/stream", "read", "The same as it changes: server-sent events", looking.stream,
          media="text/event-stream", refusals=(429,)),
    Route("POST", "/outputs/{target:.+}", "control", "Tell an output something", telling.output, telling.AnswerTold,
          body=telling.CommandWish, refusals=(404,)),
)  # fmt: skip
