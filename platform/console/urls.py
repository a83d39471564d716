"""REST addresses of the console's own subjects, below `/api/v1/`, with and without a trailing slash."""

from django.urls import URLPattern, re_path

from console.api.audit_events import AuditEventsView, AuditEventView, AuditVerificationView
from console.api.backups import (
    BackupFileView,
    BackupsView,
    BackupView,
    RestorationView,
    RestorePlanView,
    RestoreView,
    UploadBackupView,
)
from console.api.jobs import JobCancelView, JobKindsView, JobRetryView, JobsView, OneJobView
from console.api.keyring import KeyringView
from console.api.live import LiveView
from console.api.overview import OverviewView
from console.api.palette import PaletteView
from console.api.requests import DecisionsView, RequestsView, RequestView
from console.api.system import SystemView

urlpatterns: list[URLPattern] = [
    re_path(r"^audit-events/?$", AuditEventsView.as_view()),
    re_path(r"^audit-events/verification/?$", AuditVerificationView.as_view()),
    re_path(r"^audit-events/(?P<event>[^/]+)/?$", AuditEventView.as_view()),
    re_path(r"^jobs/?$", JobsView.as_view()),
    re_path(r"^jobs/kinds/?$", JobKindsView.as_view()),
    re_path(r"^jobs/(?P<job>[^/]+)/?$", OneJobView.as_view()),
    re_path(r"^jobs/(?P<job>[^/]+)/retry/?$", JobRetryView.as_view()),
    re_path(r"^jobs/(?P<job>[^/]+)/cancel/?$", JobCancelView.as_view()),
    re_path(r"^backups/?$", BackupsView.as_view()),
    re_path(r"^backups/upload/?$", UploadBackupView.as_view()),
    re_path(r"^backups/keyring/?$", KeyringView.as_view()),
    re_path(r"^backups/restore/?$", RestorationView.as_view()),
    re_path(r"^backups/(?P<backup_id>atrium-[^/]+)/?$", BackupView.as_view()),
    re_path(r"^backups/(?P<backup_id>atrium-[^/]+)/file/?$", BackupFileView.as_view()),
    re_path(r"^backups/(?P<backup_id>atrium-[^/]+)/plan/?$", RestorePlanView.as_view()),
    re_path(r"^backups/(?P<backup_id>atrium-[^/]+)/restore/?$", RestoreView.as_view()),
    re_path(r"^live/?$", LiveView.as_view()),
    re_path(r"^overview/?$", OverviewView.as_view()),
    re_path(r"^palette/?$", PaletteView.as_view()),
    re_path(r"^requests/?$", RequestsView.as_view()),
    re_path(r"^requests/(?P<request_id>[^/]+)/?$", RequestView.as_view()),
    re_path(r"^routing/decisions/?$", DecisionsView.as_view()),
    re_path(r"^system/?$", SystemView.as_view()),
]
