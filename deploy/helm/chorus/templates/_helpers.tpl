{{- define "chorus.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "chorus.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "chorus.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "chorus.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "chorus.selector" -}}
app.kubernetes.io/name: {{ include "chorus.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "chorus.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{ include "chorus.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
{{- end }}

{{- define "chorus.serviceAccountName" -}}
{{- default (include "chorus.fullname" .) .Values.serviceAccount.name }}
{{- end }}

{{/* The Secret to read, if any. */}}
{{- define "chorus.secretName" -}}
{{- if .Values.secret.existingSecret }}
{{- .Values.secret.existingSecret }}
{{- else if or .Values.secret.redisPassword .Values.secret.clusterSecret .Values.secret.redisURL }}
{{- include "chorus.fullname" . }}
{{- end }}
{{- end }}

{{/* Keys to read of it, as JSON: which, or empty. */}}
{{- define "chorus.secretKeys" -}}
{{- $s := .Values.secret }}
{{- if $s.existingSecret }}
{{- dict "redisPassword" $s.redisPasswordKey "clusterSecret" $s.clusterSecretKey "redisURL" $s.redisURLKey | toJson }}
{{- else }}
{{- dict "redisPassword" (ternary "redis-password" "" (ne $s.redisPassword "")) "clusterSecret" (ternary "cluster-secret" "" (ne $s.clusterSecret "")) "redisURL" (ternary "redis-url" "" (ne $s.redisURL "")) | toJson }}
{{- end }}
{{- end }}

{{/* The configuration file: the values' and what the chart sets. */}}
{{- define "chorus.config" -}}
{{- $drain := dict "lame_duck" (printf "%ds" (int .Values.drain.lameDuckSeconds)) "spread" (printf "%ds" (int .Values.drain.spreadSeconds)) "timeout" (printf "%ds" (int .Values.drain.timeoutSeconds)) }}
{{- mergeOverwrite (deepCopy .Values.config) (dict "drain" $drain) | toYaml }}
{{- end }}

{{/* 90 % of a quantity of memory, in bytes. */}}
{{- define "chorus.memoryLimit" -}}
{{- $number := regexFind "^[0-9]+" . | int64 }}
{{- $unit := regexFind "[A-Za-z]*$" . }}
{{- $factors := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 }}
{{- div (mul $number (get $factors $unit) 9) 10 }}
{{- end }}

{{/* What a schema cannot say. */}}
{{- define "chorus.validate" -}}
{{- $many := or .Values.autoscaling.enabled (gt (int .Values.replicaCount) 1) }}
{{- $keys := include "chorus.secretKeys" . | fromJson }}
{{- $redis := .Values.config.redis | default dict }}
{{- $env := false }}
{{- range .Values.extraEnv }}{{ if eq .name "CHORUS_REDIS_URL" }}{{ $env = true }}{{ end }}{{ end }}
{{- if and $many (not $redis.url) (not $keys.redisURL) (not $env) }}
{{- fail "config.redis.url: more than one node needs a Redis, or clients of different nodes do not reach each other" }}
{{- end }}
{{- $port := regexFind ":[0-9]+([/?]|$)" (toString $redis.url) | regexFind "[0-9]+" }}
{{- $open := list }}
{{- range .Values.networkPolicy.redisPorts }}{{ $open = append $open (toString (int .)) }}{{ end }}
{{- if and .Values.networkPolicy.enabled $port (not (has $port $open)) }}
{{- fail (printf "networkPolicy.redisPorts: has not %s, the port of config.redis.url" $port) }}
{{- end }}
{{- if and .Values.secret.existingSecret (not $keys.redisPassword) (not $keys.clusterSecret) (not $keys.redisURL) }}
{{- fail "secret.existingSecret: name the keys to read of it: redisPasswordKey, clusterSecretKey, redisURLKey" }}
{{- end }}
{{- if ge (add .Values.drain.lameDuckSeconds .Values.drain.spreadSeconds) (int64 .Values.drain.timeoutSeconds) }}
{{- fail "drain.spreadSeconds: with drain.lameDuckSeconds must be less than drain.timeoutSeconds" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- fail "autoscaling.minReplicas: must not be more than autoscaling.maxReplicas" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (eq (int .Values.autoscaling.cpu) 0) (eq (int .Values.autoscaling.connections) 0) }}
{{- fail "autoscaling: needs cpu or connections" }}
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
{{- fail "httpRoute.parentRefs: name the Gateway" }}
{{- end }}
{{- end }}
