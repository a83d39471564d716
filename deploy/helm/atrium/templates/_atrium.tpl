{{- define "atrium.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end -}}
{{- end -}}

{{/* What selects the pods of one part: never changes for a release. Call with (dict "root" $ "part" "gateway"). */}}
{{- define "atrium.selector" -}}
app.kubernetes.io/name: atrium
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "atrium.labels" -}}
{{ include "atrium.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "atrium.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "atrium.environment" -}}
envFrom:
  - secretRef: {name: {{ required "existingSecret: name the Secret that holds ATRIUM_DATABASE_URL and the other secrets" .root.Values.existingSecret }}}
env:
  - {name: ATRIUM_HOME, value: /var/lib/atrium}
  - {name: HOST, value: 0.0.0.0}
  - {name: PORT, value: "8000"}
  - {name: ATRIUM_WEAVIATE_URL, value: {{ .root.Values.weaviateUrl | quote }}}
  - {name: ATRIUM_WEAVIATE_GRPC_PORT, value: {{ .root.Values.weaviateGrpcPort | quote }}}
  - {name: ATRIUM_PUBLIC_URL, value: {{ .root.Values.publicUrl | quote }}}
  - {name: ATRIUM_ALLOWED_HOSTS, value: {{ join "," .root.Values.allowedHosts | quote }}}
  - {name: ATRIUM_ALLOWED_ORIGINS, value: {{ join "," .root.Values.allowedOrigins | quote }}}
  - {name: ATRIUM_TRUSTED_PROXIES, value: {{ join "," .root.Values.trustedProxies | quote }}}
  - {name: ATRIUM_EMBEDDINGS_URL, value: {{ .root.Values.embeddings.url | quote }}}
  - {name: ATRIUM_EMBEDDINGS_MODEL, value: {{ .root.Values.embeddings.model | quote }}}
  - {name: ATRIUM_DRAIN, value: {{ .root.Values.drain.seconds | quote }}}
  {{- range $name, $value := .root.Values.environment }}
  - {name: {{ $name }}, value: {{ $value | quote }}}
  {{- end }}
{{- end -}}

{{/* Only control asks Kubernetes anything, and only where replicas are found there. */}}
{{- define "atrium.account" -}}
{{- if and (eq .part "control") .root.Values.discovery.kubernetes.enabled -}}
serviceAccountName: {{ include "atrium.name" .root }}-control
automountServiceAccountToken: true
{{- else -}}
automountServiceAccountToken: false
{{- end -}}
{{- end -}}

{{- define "atrium.podSecurity" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "atrium.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end -}}

{{- define "atrium.mounts" -}}
volumeMounts:
  - {name: home, mountPath: /var/lib/atrium}
  - {name: tmp, mountPath: /tmp}
  {{- if .Values.files.existingClaim }}
  - {name: files, mountPath: /srv/atrium}
  {{- end }}
{{- end -}}

{{- define "atrium.volumes" -}}
volumes:
  # What a process keeps for itself: collected static files, the spool while Redis is away.
  - name: home
    emptyDir: {sizeLimit: 2Gi}
  - name: tmp
    emptyDir: {sizeLimit: 2Gi}
  {{- with .Values.files.existingClaim }}
  - name: files
    persistentVolumeClaim: {claimName: {{ . }}}
  {{- end }}
{{- end -}}

{{/* One of each on a node as far as that goes, and over zones. */}}
{{- define "atrium.spread" -}}
topologySpreadConstraints:
  {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "atrium.selector" $ | nindent 8 }}
  {{- end }}
{{- end -}}
